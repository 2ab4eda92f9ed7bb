"""Clean and robust decisions of a differentiable model by itself: what compression steps are judged by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Split
from harness.progress import Advance
from harness.robustness.decisions import BATCH, decisions_of, model_scores

if TYPE_CHECKING:
    from torch import nn

Array = npt.NDArray[Any]
Attacked = Callable[["nn.Module", Array, Array, Array], Array]
"""A model, images, labels and the images' ids to adversarial images."""


def clean_and_robust(
    model: nn.Module, split: Split, attacked: Attacked, advance: Advance = lambda _: None
) -> tuple[Array, Array]:
    """Return which images a model decides rightly, and which also under attack, two masks of shape (n,).

    The attack takes its gradients from this very model. An image that is wrong when clean counts as wrong under attack.

    Args:
        model: in evaluation mode; its parameters need no gradient.
        split: the images, at least one.
        attacked: the attack.
        advance: told how many images are done.
    """
    scores = model_scores(model)
    right = decisions_of(scores, split.images, lambda _: None) == split.labels
    robust = np.zeros(len(split), np.bool_)
    rows = np.flatnonzero(right)
    advance(len(split) - len(rows))
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        adversarial = attacked(model, split.images[batch], split.labels[batch], batch)
        robust[batch] = decisions_of(scores, adversarial, lambda _: None) == split.labels[batch]
        advance(len(batch))
    return right, robust
