"""From the arms' outcomes to one number: an image counts as robust only if no arm fooled the engine on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Labels
from harness.robustness.arms import ArmOutcome
from harness.robustness.intervals import Share, share

NONE_WON = -1


@dataclass(frozen=True)
class WorstCase:
    """The arms taken together.

    Attributes:
        robust: share of all images that are right when clean and that no arm turned.
        winner: int64 (n,), the first arm that fooled the engine on an image, by its place; -1 where none did.
        alone: every arm's robust accuracy by itself.
        unique_wins: images that only this arm turned.
    """

    robust: Share
    winner: Labels
    alone: tuple[Share, ...]
    unique_wins: tuple[int, ...]


def worst_case(labels: Labels, clean_decisions: Labels, arms: Sequence[ArmOutcome]) -> WorstCase:
    """Combine the arms.

    Args:
        labels: int64 (n,).
        clean_decisions: the engine's, int64 (n,).
        arms: at least one, over the same images.
    """
    right = clean_decisions == labels
    wins: npt.NDArray[np.bool_] = np.stack([right & (arm.decisions != labels) for arm in arms])
    won = wins.any(axis=0)
    single = wins.sum(axis=0) == 1
    return WorstCase(
        robust=share(right & ~won),
        winner=np.where(won, wins.argmax(axis=0), NONE_WON).astype(np.int64),
        alone=tuple(share(right & ~win) for win in wins),
        unique_wins=tuple(int((win & single).sum()) for win in wins),
    )
