from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from contracts.errors import InputError
from harness.attacks.ball import NORMS, Norm
from harness.attacks.fgsm import FGSM
from harness.attacks.pgd import PGD
from harness.attacks.registry import attack, needs_gradient
from tests.harness.attacks.attacking import Watched, attacked
from tests.harness.attacks.linear_models import SHAPE, away_from, greys, labels_of, linear, pixels, unit


def test_on_two_classes_of_a_linear_model_it_is_the_ball_s_worst_corner() -> None:
    model, images = linear(SHAPE, classes=2), pixels(20)
    labels = labels_of(model, images)
    corner = (images + 0.1 * away_from(labels, model, 1 - labels, images).sign()).clamp(0, 1)
    torch.testing.assert_close(attacked(FGSM(), model, images, labels), corner, rtol=0, atol=1e-7)


def test_in_l2_it_is_the_end_of_the_weights_direction() -> None:
    model, images = linear(SHAPE, classes=2), greys(20)
    labels = labels_of(model, images)
    end = images + 0.3 * unit(away_from(labels, model, 1 - labels, images))
    found = attacked(FGSM(), model, images, labels, epsilon=0.3, norm="l2")
    torch.testing.assert_close(found, end, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_one_long_step_of_pgd(norm: Norm) -> None:
    model, images = linear(SHAPE), pixels(20)
    labels = labels_of(model, images)
    expected = attacked(PGD(steps=1, step_size=0.1), model, images, labels, norm=norm)
    assert torch.equal(attacked(FGSM(), model, images, labels, norm=norm), expected)


def test_nobody_is_asked_about_a_single_step() -> None:
    model, images = linear(SHAPE), pixels(5)
    labels = labels_of(model, images)
    target = Watched(model, lambda rows, look: rows < 2)
    assert torch.equal(attacked(FGSM(), target, images, labels), attacked(FGSM(), model, images, labels))
    assert target.shown == []


def test_it_is_registered_and_has_no_settings() -> None:
    assert attack("fgsm", {}) == FGSM()
    assert needs_gradient("fgsm")
    with pytest.raises(InputError, match=r"attack\.fgsm has no setting 'steps'; it has none") as caught:
        attack("fgsm", {"steps": 2})
    assert "\n" not in str(caught.value)
