from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from contracts.errors import InputError
from harness.measurement.percentiles import MINIMUM_QUERIES, carried_percentile, percentile

pytestmark = pytest.mark.core

times = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300).map(lambda values: np.sort(np.array(values)))
levels = st.integers(0, 100)


@given(times, levels)
def test_a_percentile_is_one_of_the_values_and_excludes_the_share_above_it(ordered: np.ndarray, p: int) -> None:
    found = percentile(ordered, p)
    excluded = (100 - p) * len(ordered) // 100  # trtexec: int((1 - p / 100) * N), in exact arithmetic
    assert found == ordered[max(len(ordered) - 1 - excluded, 0)]
    assert np.count_nonzero(ordered > found) <= excluded


@given(times, levels, levels)
def test_percentiles_rise_with_p(ordered: np.ndarray, p: int, q: int) -> None:
    low, high = sorted((p, q))
    assert percentile(ordered, low) <= percentile(ordered, high)


@given(times)
def test_the_hundredth_percentile_is_the_slowest(ordered: np.ndarray) -> None:
    assert percentile(ordered, 100) == ordered[-1]
    assert percentile(ordered, 0) == ordered[0]


def test_of_a_hundred_values_the_index_is_trtexecs() -> None:
    ordered = np.arange(100.0)
    assert [percentile(ordered, p) for p in (50, 90, 95, 99)] == [49, 89, 94, 98]


@pytest.mark.parametrize("p", [50, 90, 95, 99])
def test_minimum_queries_are_the_first_that_early_stopping_accepts(p: int) -> None:
    # The second slowest of n bounds the percentile unless at most one query lies above it: Binomial(n, 1 - p) <= 1.
    risks = binom.cdf(1, np.arange(1, 1000), 1 - p / 100)
    assert MINIMUM_QUERIES[p] == 1 + int(np.argmax(risks <= 0.01))


@pytest.mark.parametrize(("p", "needed"), MINIMUM_QUERIES.items())
def test_a_percentile_is_stated_from_its_minimum_on(p: int, needed: int) -> None:
    assert carried_percentile(np.ones(needed - 1), p) is None
    assert carried_percentile(np.ones(needed), p) == 1.0


@pytest.mark.parametrize(("count", "p"), [(0, 50), (3, 101), (3, -1)])
def test_no_values_or_no_percentage_is_refused(count: int, p: int) -> None:
    with pytest.raises(InputError, match="percentile needs"):
        percentile(np.ones(count), p)
