from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from harness.attacks.n_fgsm import NFGSM
from tests.harness.attacks.linear_models import SHAPE, away_from, labels_of, linear, pixels


def test_n_fgsm_is_noise_and_one_step() -> None:
    model, images = linear(SHAPE, classes=2), pixels(50)
    labels = labels_of(model, images)
    torch.manual_seed(0)
    found = NFGSM()(model, images, labels, epsilon=0.1)
    torch.manual_seed(0)
    noisy = images + torch.empty_like(images).uniform_(-0.2, 0.2)
    torch.testing.assert_close(found, noisy + 0.1 * away_from(labels, model, 1 - labels, images).sign())
