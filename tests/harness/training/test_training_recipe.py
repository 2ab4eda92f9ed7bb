from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import InputError
from harness.training.recipe import Recipe

pytestmark = pytest.mark.core

PLAIN: dict[str, Any] = {
    "method": "pgd",
    "epochs": 1,
    "epsilon": 0.1,
    "learning_rate": 0.1,
    "batch_size": 8,
    "weight_decay": 0.0,
}


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("method", "n-fgm", "did you mean 'n-fgsm'"),
        ("schedule", "cosin", "did you mean 'cosine'"),
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("batch_size", 0, "batch_size must be at least 1"),
        ("crop", -1, "crop must be at least 0"),
        ("gradient_clip", float("nan"), "gradient_clip must be at least 0"),
        ("ema_decay", 1.0, "ema_decay must be at least 0 and below 1"),
        ("label_smoothing", -0.1, "label_smoothing must be at least 0 and below 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(setting: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Recipe(**{**PLAIN, setting: value})


def test_every_method_but_the_standard_one_is_adversarial() -> None:
    assert Recipe(**PLAIN).adversarial
    assert not Recipe(**{**PLAIN, "method": "standard"}).adversarial
