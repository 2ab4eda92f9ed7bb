from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from contracts.errors import InputError
from harness.attacks.attack import Target
from harness.attacks.fgsm import FGSM
from harness.attacks.pgd import PGD
from harness.attacks.registry import attack, needs_gradient
from tests.harness.attacks.linear_models import labels_of, linear, pixels

SHAPE = (2, 3, 4)


def attacked(target: Target, images: Tensor, labels: Tensor, epsilon: float = 0.1) -> Tensor:
    return FGSM()(target, images, labels, epsilon=epsilon, image_ids=torch.arange(len(images)), seed=0)


@settings(max_examples=40, deadline=None)
@given(epsilon=st.floats(1e-4, 1.0), n=st.integers(1, 4), seed=st.integers(0, 1000))
def test_the_result_lies_in_the_ball_and_is_an_image(epsilon: float, n: int, seed: int) -> None:
    images, model = pixels(n, SHAPE, seed), linear(SHAPE)
    before = images.clone()
    found = attacked(Target(model), images, labels_of(model, images), epsilon)
    assert found.dtype == torch.float32
    assert (found - before).abs().max() <= epsilon + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(images, before)


def test_on_two_classes_of_a_linear_model_it_is_the_ball_s_worst_corner() -> None:
    model, images = linear(SHAPE, classes=2), pixels(20, SHAPE)
    labels = labels_of(model, images)
    weight = model.get_parameter("1.weight").detach()
    away = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    found = attacked(Target(model), images, labels)
    torch.testing.assert_close(found, (images + 0.1 * away).clamp(0, 1), rtol=0, atol=1e-7)


def test_it_is_one_long_step_of_pgd() -> None:
    model, images = linear(SHAPE), pixels(20, SHAPE)
    labels = labels_of(model, images)
    pgd = PGD(steps=1, step_size=0.1)
    expected = pgd(Target(model), images, labels, epsilon=0.1, image_ids=torch.arange(20), seed=0)
    assert torch.equal(attacked(Target(model), images, labels), expected)


def test_a_judge_is_asked_once_about_every_image_and_changes_nothing() -> None:
    model, images = linear(SHAPE), pixels(5, SHAPE)
    labels = labels_of(model, images)
    asked: list[tuple[Tensor, list[int]]] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        asked.append((adversarial.clone(), rows.tolist()))
        return rows < 2

    found = attacked(Target(model, judge), images, labels)
    assert torch.equal(found, attacked(Target(model), images, labels))
    ((shown, rows),) = asked
    assert rows == [0, 1, 2, 3, 4]
    assert torch.equal(shown, found)


def test_it_is_registered_and_has_no_settings() -> None:
    assert attack("fgsm", {}) == FGSM()
    assert needs_gradient("fgsm")
    with pytest.raises(InputError, match=r"attack\.fgsm has no setting 'steps'; it has none") as caught:
        attack("fgsm", {"steps": 2})
    assert "\n" not in str(caught.value)
