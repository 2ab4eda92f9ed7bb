from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest

from contracts.errors import InputError
from harness.training.recipe import Recipe
from harness.workflow.experiment import Learning
from harness.workflow.training import recipe

pytestmark = pytest.mark.core

PLAIN: dict[str, Any] = {
    "method": "pgd",
    "epochs": 1,
    "epsilon": 0.1,
    "learning_rate": 0.1,
    "batch_size": 8,
    "weight_decay": 0.0,
    "validation_samples": 0,
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


def test_the_experiment_s_sections_have_the_same_fields_defaults_and_ranges() -> None:
    shared = {each.name: each for each in fields(Recipe) if each.name != "method"}
    assert shared.keys() == Learning.model_fields.keys()
    for name, each in shared.items():
        if each.default is not MISSING:
            assert each.default == Learning.model_fields[name].default, name
    for name in ("gradient_clip", "trades_beta", "ema_decay", "label_smoothing", "crop", "validation_samples"):
        assert recipe(Learning.model_validate({name: 0}), "trades") == Recipe(
            **{**recipe(Learning(), "trades").__dict__, name: 0}
        )
