"""A small classifier as an engine, simulated, and with gradients: alike whatever the batch, a little different."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from harness.attacks.differentiable import Differentiable
from harness.data.dataset import Images, Split
from harness.robustness.decisions import Scores, decide
from tests.harness.attacks.linear_models import OneByOne

CLASSES = 5
SHAPE = (1, 3, 3)
_random = np.random.default_rng(5)
_LINEAR, _SQUARE = _random.normal(size=(2, CLASSES, 9))


def engine(images: Images) -> Scores:
    """Return scores, each image's by itself and in float64, so that no batch changes a bit."""
    points = images.reshape(len(images), 9).astype(np.float64) - 0.5
    scores = [(_LINEAR * point + 2 * _SQUARE * point**2).sum(1) for point in points]
    return np.array(scores, np.float32).reshape(-1, CLASSES)


class Nearly(nn.Module):
    """The engine's function with its weights a little off."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self.linear = torch.from_numpy(_LINEAR + off * _SQUARE)
        self.square = torch.from_numpy(_SQUARE)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        points = images.flatten(1).double()[:, None] - 0.5
        return (self.linear * points + 2 * self.square * points**2).sum(2).float()


def sources() -> dict[str, Differentiable]:
    """Return two models like the engine, its own function up to roundings last."""
    return {name: Differentiable(OneByOne(Nearly(off))) for name, off in (("float", 0.3), ("twin", 0.0))}


def split_of(n: int) -> Split:
    """Return images of which the engine gets all but the third and each seventh after it right."""
    images = np.random.default_rng(6).random((n, *SHAPE), np.float32)
    labels = decide(engine(images))
    labels[2::7] = (labels[2::7] + 1) % CLASSES
    return Split(images, labels)
