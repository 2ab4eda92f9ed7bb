from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from torch import Tensor, nn
from torch import stack as torch_stack

from harness.attacks.noise import Noise
from harness.attacks.pgd import PGD
from harness.data.dataset import Split
from harness.robustness.decisions import BATCH
from harness.robustness.differentiable import clean_and_robust


class Brightness(nn.Module):
    """Class 1 is what is brighter than 0.5 on average."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        margin = images.mean((1, 2, 3)) - 0.5
        return torch_stack([-margin, margin], 1)


def grey(values: list[float]) -> Split:
    """Return flat images of these greys; the class is whether they are brighter than 0.5."""
    images = np.broadcast_to(np.array(values, np.float32)[:, None, None, None], (len(values), 1, 2, 2)).copy()
    return Split(images, (np.array(values) > 0.5).astype(np.int64))


def test_what_lies_within_epsilon_of_the_border_is_not_robust() -> None:
    split = grey([0.2, 0.3, 0.42, 0.48, 0.52, 0.58, 0.7, 0.8])
    clean, robust = clean_and_robust(Brightness(), split, PGD(steps=10), epsilon=0.1, seed=0)
    assert (clean, robust) == (1.0, 4 / 8)


def test_what_is_wrong_when_clean_is_wrong_under_attack() -> None:
    split = grey([0.2, 0.48, 0.9, 0.52])
    split.labels[[1, 2]] = 1 - split.labels[[1, 2]]  # the attack could turn neither image into the right class
    clean, robust = clean_and_robust(Brightness(), split, PGD(steps=10), epsilon=0.1, seed=0)
    assert (clean, robust) == (2 / 4, 1 / 4)


def test_batches_do_not_matter() -> None:
    values = np.linspace(0.003, 1, 2 * BATCH + 3)
    clean, robust = clean_and_robust(Brightness(), grey(values.tolist()), PGD(steps=10), epsilon=0.1, seed=0)
    assert clean == 1.0
    assert robust == (np.abs(values - 0.5) > 0.1).mean()


def test_a_black_box_attack_is_blind_here() -> None:
    # One draw of four signs moves the mean by 0.1 with probability 1/16, in the right direction for one class.
    split = grey([0.49] * 200 + [0.2] * 200)
    clean, robust = clean_and_robust(Brightness(), split, Noise(draws=50), epsilon=0.1, seed=0)
    assert clean == 1.0
    more_ups_than_downs = (4 + 1) / 16
    assert robust == pytest.approx(1 - more_ups_than_downs / 2, abs=0.05)


def test_nothing_that_is_right_is_nothing_that_is_robust() -> None:
    split = grey([0.1, 0.9])
    split.labels[:] = 1 - split.labels
    assert clean_and_robust(Brightness(), split, PGD(steps=2), epsilon=0.1, seed=0) == (0.0, 0.0)
