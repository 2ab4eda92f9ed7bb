from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from harness.robustness.decisions import decisions_of, model_scores
from harness.workflow.judging_attack import Together, judging_attack, judging_attacks
from harness.workflow.settings import check

EPSILON = 0.1


def together(*names: str) -> Together:
    attacks: dict[str, Any] = {"pgd": {"steps": 2}, "square": {"queries": 30}, "apgd-ce": {"steps": 4}}
    asked = {"eval": {"attack": list(names), "epsilon": EPSILON}, "attack": attacks}
    return judging_attacks(check(asked, "values"), EPSILON)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    found = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    return found.requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Any:
    return np.random.default_rng(0).random((60, 1, 8, 8), dtype=np.float32)


@pytest.fixture(scope="module")
def labels(model: nn.Module, images: Any) -> Any:
    return decisions_of(model_scores(model), images, lambda _: None)


def turned(attack: Any, model: nn.Module, images: Any, labels: Any) -> tuple[Any, Any]:
    found = attack(model, images, labels, np.arange(len(images)))
    return found, decisions_of(model_scores(model), found, lambda _: None) != labels


def test_together_they_turn_what_any_turns_of_what_is_left(model: nn.Module, images: Any, labels: Any) -> None:
    whole = together("pgd", "square", "apgd-ce")
    found, fell = turned(whole, model, images, labels)
    first, by_first = turned(whole.members[0], model, images, labels)
    assert 0 < by_first.sum() < fell.sum() < len(images)
    np.testing.assert_array_equal(found[by_first], first[by_first])  # what fell once is left as it is
    for member in whole.members:
        assert fell.sum() >= turned(member, model, images, labels)[1].sum()
    assert np.abs(found - images).max() <= EPSILON + 1e-6 and found.min() >= 0 and found.max() <= 1


def test_one_attack_together_is_that_attack(model: nn.Module, images: Any, labels: Any) -> None:
    one = together("pgd")
    assert (one.name, one.settings) == ("pgd", one.members[0].settings)
    np.testing.assert_array_equal(
        turned(one, model, images, labels)[0], turned(one.members[0], model, images, labels)[0]
    )


def test_a_set_keeps_its_name_and_tells_every_members_settings() -> None:
    whole = together("autoattack")
    assert (whole.name, whole.settings["attack"]) == ("autoattack", "autoattack")
    assert list(whole.settings["hyper_parameters"]) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert whole.settings["epsilon"] == EPSILON


def test_the_one_that_compares_models_follows_gradients_where_one_does() -> None:
    asked = check({"eval": {"attack": ["square", "pgd"]}}, "values")
    assert judging_attack(asked).attack.name == "pgd"
