from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.measurement.early_stopping import allowed_above, upper_bound
from harness.measurement.percentiles import MINIMUM_QUERIES, percentile

pytestmark = pytest.mark.core


def probability(n: int, p: int, most: int) -> float:
    """Return P(Binomial(n, 1 - p/100) <= most), added up by hand."""
    share = (100 - p) / 100
    return sum(comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(most + 1))


@given(st.integers(1, 400), st.sampled_from([50, 90, 95, 99]))
def test_as_many_may_lie_above_as_chance_allows_and_no_more(n: int, p: int) -> None:
    found = allowed_above(n, p)
    assert found == -1 or probability(n, p, found) <= 0.01
    assert probability(n, p, found + 1) > 0.01


@pytest.mark.parametrize(("p", "needed"), [(90, 64), (95, 130), (99, 662)])
def test_loadgens_published_numbers_of_queries_are_the_first_that_bound_anything(p: int, needed: int) -> None:
    assert MINIMUM_QUERIES[p] == needed
    times = np.arange(1.0, needed + 1)
    assert upper_bound(times[:-1], p) is None
    assert upper_bound(times, p) == needed  # the slowest


@given(st.lists(st.floats(0.01, 1e3), min_size=64, max_size=2000), st.sampled_from([50, 90, 95, 99]))
def test_the_bound_is_a_time_that_was_seen_at_or_above_the_percentile(times: list[float], p: int) -> None:
    ordered = np.sort(np.array(times))
    bound = upper_bound(ordered, p)
    if bound is None:
        assert len(times) < MINIMUM_QUERIES[p]
    else:
        assert bound in times and bound >= percentile(ordered, p)


@pytest.mark.parametrize(("n", "p"), [(200, 90), (1000, 95), (2000, 99)])
def test_the_bound_holds_in_99_of_100_windows(n: int, p: int) -> None:
    """The true percentile of Exponential(1) is known; more than 1.6 % of 3,000 windows below it would be no chance."""
    rng, true = np.random.default_rng(0), -np.log(1 - p / 100)
    bounds = [upper_bound(np.sort(rng.exponential(size=n)), p) for _ in range(3000)]
    assert sum(bound is None or bound < true for bound in bounds) <= 48


@pytest.mark.parametrize("p", [0, 100, -1])
def test_what_cannot_be_bounded_is_refused(p: int) -> None:
    with pytest.raises(InputError, match="can be bounded"):
        upper_bound(np.ones(3), p)


def test_nothing_bounds_nothing() -> None:
    assert upper_bound(np.ones(0), 90) is None
