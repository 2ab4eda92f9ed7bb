"""A task that a tiny network learns in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from harness.data.dataset import Split
from harness.progress import Silent
from harness.training.loop import train
from harness.training.recipe import Method, Recipe
from harness.training.trained import Trained


def recipe(method: Method = "standard", **changes: Any) -> Recipe:
    """Return a short recipe."""
    values: dict[str, Any] = {
        "method": method,
        "epochs": 2,
        "epsilon": 0.05,
        "learning_rate": 0.1,
        "batch_size": 16,
        "weight_decay": 1e-4,
        "flip": False,
        "pgd_steps": 2,
        "validation_samples": 0,
    }
    return Recipe(**{**values, **changes})


def halves(n: int = 96) -> Split:
    """Return images whose class is the half that is brighter."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, n)
    images = random.uniform(0, 0.4, (n, 1, 6, 6))
    images[labels == 0, :, :3] += 0.5
    images[labels == 1, :, 3:] += 0.5
    return Split(images.astype(np.float32), labels.astype(np.int64))


def network() -> nn.Module:
    """Return a convolution with batch norm and a linear layer for such images."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
    ).eval()


def trained(model: nn.Module, settings: Recipe, *, seed: int = 0, split: Split | None = None, **given: Any) -> Trained:
    """Train in silence."""
    given = {"progress": Silent(), "title": "training", **given}
    return train(model, split or halves(), settings, seed=seed, **given)
