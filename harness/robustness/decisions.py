"""Decisions: the class of the largest score."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Images, Labels

if TYPE_CHECKING:
    from torch import nn

    from engines.engine import Engine
    from harness.progress import Advance

BATCH = 125
"""Images attacked or judged at a time: on a small CPU larger batches are slower, not faster."""

UNDECIDED = -1
"""The decision of an image whose scores are not finite: it counts as wrong."""

Scores = npt.NDArray[np.float32]


def decide(scores: Scores) -> Labels:
    """Return the decisions of scores (n, classes) as int64 (n,)."""
    decisions: Labels = scores.argmax(axis=1).astype(np.int64)
    decisions[~np.isfinite(scores).all(axis=1)] = UNDECIDED
    return decisions


def engine_decisions(engine: Engine, images: Images, advance: Advance) -> Labels:
    """Return an active engine's decisions of images (n, channels, height, width)."""
    return _in_batches(engine.infer, images, advance)


def model_decisions(model: nn.Module, images: Images, advance: Advance) -> Labels:
    """Return a torch model's decisions of images (n, channels, height, width)."""
    import torch

    def scores(batch: Images) -> Scores:
        with torch.inference_mode():
            found: Scores = model(torch.from_numpy(batch)).numpy()
        return found

    return _in_batches(scores, images, advance)


def _in_batches(scores: Callable[[Images], Scores], images: Images, advance: Advance) -> Labels:
    decisions = np.empty(len(images), np.int64)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        decisions[start : start + len(batch)] = decide(scores(batch))
        advance(len(batch))
    return decisions
