"""Decisions: the class of the largest score."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Images, Labels

if TYPE_CHECKING:
    from torch import nn

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


def model_scores(model: nn.Module) -> Callable[[Images], Scores]:
    """Return the function from images to a torch model's scores."""
    import torch

    def scores(images: Images) -> Scores:
        with torch.inference_mode():
            found: Scores = model(torch.from_numpy(images)).numpy()
        return found

    return scores


def decisions_of(scores: Callable[[Images], Scores], images: Images, advance: Advance) -> Labels:
    """Return the decisions of images (n, channels, height, width), scored a batch at a time."""
    decisions = np.empty(len(images), np.int64)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        decisions[start : start + len(batch)] = decide(scores(batch))
        advance(len(batch))
    return decisions
