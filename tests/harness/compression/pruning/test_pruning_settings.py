from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.compression.pruning import METHODS, WITH_GRADIENTS, Pruning

pytestmark = pytest.mark.core


@given(st.floats(0.01, 0.99), st.integers(1, 12))
def test_steps_take_equal_shares_of_what_is_left_and_end_at_the_whole(sparsity: float, steps: int) -> None:
    whole = Pruning(sparsity=sparsity, max_sparsity=0.99)
    cuts = whole.in_steps(steps)
    left = [1.0, *(1 - cut.share(sparsity) for cut in cuts)]
    each = [now / before for before, now in pairwise(left)]
    assert len(cuts) == steps
    assert each == pytest.approx([each[0]] * steps)
    assert cuts[-1] == whole, "the last one rounds as one cut does"
    assert cuts[-1].share(sparsity) == sparsity


def test_a_share_of_nothing_stays_nothing_in_every_step() -> None:
    assert [cut.share(0.0) for cut in Pruning().in_steps(3)] == [0.0, 0.0, 0.0]


def test_what_each_method_needs() -> None:
    assert METHODS == ("l1", "l2", "bn-scale", "taylor", "robust-taylor", "random")
    assert WITH_GRADIENTS == ("taylor", "robust-taylor")
    assert Pruning(method="bn-scale").needs.batch_norms
    assert Pruning(method="robust-taylor").needs.gradients == "adversarial"


@pytest.mark.parametrize(
    ("given_values", "message"),
    [
        ({"method": "l3"}, "unknown pruning method 'l3'; did you mean 'l"),
        ({"scope": "globe"}, "unknown pruning scope 'globe'; did you mean 'global'"),
        ({"sparsity": 0.0}, "prune.sparsity must be above 0 and below 1, got 0.0"),
        ({"sparsity": 1.0}, "prune.sparsity must be above 0 and below 1, got 1.0"),
        ({"sparsity": 0.5, "max_sparsity": 0.4}, r"sparsity must be between 0 and max_sparsity \(0.4\), got 0.5"),
        ({"limits": {"stem": 0.99}}, r"limits\['stem'\] must be between 0 and max_sparsity \(0.95\), got 0.99"),
        ({"limits": {"stem": -0.1}}, r"limits\['stem'\] must be between 0"),
        ({"round_to": 0}, "prune.round_to must be at least 1, got 0"),
        ({"part": 0.0}, "a part of a cut must be above 0 and at most 1, got 0.0"),
    ],
)
def test_what_is_out_of_range_is_refused(given_values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pruning(**given_values)


def test_steps_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"prune\.steps must be at least 1, got 0"):
        Pruning().in_steps(0)
