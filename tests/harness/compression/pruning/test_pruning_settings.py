from __future__ import annotations

from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.compression.pruning import Pruning, in_steps

pytestmark = pytest.mark.core


@given(st.floats(0.01, 0.99), st.integers(1, 12))
def test_steps_are_equal_and_take_the_wanted_share_together(sparsity: float, steps: int) -> None:
    shares = in_steps(sparsity, steps)
    assert len(shares) == steps and len(set(shares)) == 1
    assert prod(1 - share for share in shares) == pytest.approx(1 - sparsity)


def test_limits_are_taken_in_steps_too() -> None:
    each = Pruning(sparsity=0.75, limits={"stem": 0.0, "head": 0.36}, max_sparsity=0.91).in_steps(2)
    assert each[0] == each[1]
    assert each[0].sparsity == pytest.approx(0.5)
    assert each[0].limits == {"stem": 0.0, "head": pytest.approx(0.2)}
    assert each[0].max_sparsity == pytest.approx(0.7)


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
    ],
)
def test_what_is_out_of_range_is_refused(given_values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pruning(**given_values)


def test_steps_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"prune\.steps must be at least 1, got 0"):
        in_steps(0.5, 0)
    with pytest.raises(InputError, match=r"prune\.sparsity must be above 0 and below 1, got 1.5"):
        in_steps(1.5, 2)
