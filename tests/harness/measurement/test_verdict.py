from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from contracts.errors import InputError
from harness.measurement.verdict import MINIMUM_PAIRS, verdict

pytestmark = pytest.mark.core


def pairs(ratio: float, scatter: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return medians of both engines: those of a pair drift together, and scatter by themselves."""
    rng = np.random.default_rng(seed)
    drift = np.exp(np.cumsum(rng.normal(0, 0.02, count)))
    return ratio * drift * np.exp(rng.normal(0, scatter, count)), drift * np.exp(rng.normal(0, scatter, count))


@given(st.floats(0.5, 2.0), st.floats(0.001, 0.05), st.integers(MINIMUM_PAIRS, 60), st.integers(0, 99))
def test_the_interval_holds_the_ratio_and_the_word_follows_from_it(
    ratio: float, scatter: float, count: int, seed: int
) -> None:
    found = verdict(*pairs(ratio, scatter, count, seed))
    assert found.ratio is not None and found.ci99 is not None
    low, high = found.ci99
    assert low <= found.ratio <= high
    assert (found.word == "faster") == (high < 1) and (found.word == "slower") == (low > 1)
    assert (found.reason is None) == (found.word != "inconclusive")


@given(st.floats(0.97, 1.03), st.integers(MINIMUM_PAIRS, 60), st.integers(0, 99))
def test_it_decides_as_the_paired_t_test_of_the_logarithms(ratio: float, count: int, seed: int) -> None:
    ours, theirs = pairs(ratio, 0.02, count, seed)
    p = ttest_rel(np.log(ours), np.log(theirs)).pvalue
    assert (verdict(ours, theirs).word != "inconclusive") == (p < 0.01)


@given(st.integers(0, 99))
def test_engines_in_each_others_place_turn_the_word_around(seed: int) -> None:
    ours, theirs = pairs(1.05, 0.02, 30, seed)
    turned = {"faster": "slower", "slower": "faster", "inconclusive": "inconclusive"}
    assert verdict(theirs, ours).word == turned[verdict(ours, theirs).word]


def test_chance_alone_seldom_claims_a_difference() -> None:
    words = [verdict(*pairs(1.0, 0.03, 20, seed)).word for seed in range(500)]
    assert sum(word != "inconclusive" for word in words) <= 12  # 1 % of 500 is 5; 12 or more has a chance of 0.5 %


def test_a_tenth_is_found_beneath_a_scatter_of_five_hundredths() -> None:
    assert all(verdict(*pairs(1.1, 0.05, 20, seed)).word == "slower" for seed in range(20))


def test_too_few_pairs_conclude_nothing() -> None:
    found = verdict(np.full(MINIMUM_PAIRS - 1, 2.0), np.ones(MINIMUM_PAIRS - 1))
    assert found.word == "inconclusive" and found.ratio is None and "too few" in (found.reason or "")


@pytest.mark.parametrize(("ours", "theirs"), [([1.0, 2.0], [1.0]), ([1.0, 0.0], [1.0, 1.0])])
def test_what_is_no_pair_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(InputError, match="paired medians"):
        verdict(np.array(ours), np.array(theirs))
