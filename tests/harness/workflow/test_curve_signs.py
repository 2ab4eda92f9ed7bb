"""Robust accuracy that rises with epsilon is told, and a single image is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.workflow.artifact import Artifact
from harness.workflow.stages.assemble import _curve_signs

pytestmark = pytest.mark.core


def outcome(epsilon: float, robust: int, **other: Any) -> Artifact:
    settings = {"attack": "pgd", "norm": "linf", "epsilon": epsilon, **other}
    info = {"worst_case": {"value": robust / 1000, "n": 1000}}
    return Artifact(Path("any"), {"settings": settings, "info": info})


def test_a_larger_ball_that_leaves_more_robust_is_told() -> None:
    (sign,) = _curve_signs([outcome(0.2, 503), outcome(0.1, 501)])
    assert "more images robust at epsilon 0.2 than at 0.1 (0.5030 and 0.5010)" in sign


@pytest.mark.parametrize(
    "larger", [outcome(0.2, 502), outcome(0.2, 400), outcome(0.2, 900, norm="l2"), outcome(0.2, 900, attack="fgsm")]
)
def test_one_image_or_another_attack_is_no_sign(larger: Artifact) -> None:
    assert _curve_signs([outcome(0.1, 501), larger]) == []
