"""From the arms' outcomes to one number: an image counts as robust only if no arm fooled the engine on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Labels
from harness.robustness.intervals import Share, share

NONE_WON = -1


class Decided(Protocol):
    """An arm's outcome, as far as it is counted."""

    @property
    def decisions(self) -> Labels:
        """The engine's, int64 (n,)."""

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """The smallest change seen to fool the engine, float32 (n,); 0 where it is wrong when clean."""


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


@dataclass(frozen=True)
class MinimalNorm:
    """How little it takes to fool the engine.

    Attributes:
        median: of the smallest change seen, over the images that are right when clean; None with a reason. What a
            search did not find may be smaller still.
        n: images that are right when clean.
        turned: images of which any change was seen to fool the engine, in the ball or outside.
        reason: why there is no median.
    """

    median: float | None
    n: int
    turned: int
    reason: str | None


def worst_case(labels: Labels, clean_decisions: Labels, arms: Sequence[Decided]) -> WorstCase:
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


def minimal_norm(
    labels: Labels, clean_decisions: Labels, arms: Sequence[Decided], sought: npt.NDArray[np.bool_] | None = None
) -> MinimalNorm:
    """Return the median of the smallest changes that any arm saw fool the engine.

    Args:
        labels: int64 (n,).
        clean_decisions: the engine's, int64 (n,).
        arms: at least one, over the same images.
        sought: bool (n,), images whose smallest change an attack looked for; by default all. Of the others it is only
            known that what another attack did, mostly going to the ball's surface, was enough.
    """
    right = clean_decisions == labels
    smallest = np.min([arm.distances for arm in arms], axis=0)[right]
    turned, n = int(np.isfinite(smallest).sum()), len(smallest)
    if n == 0:
        return MinimalNorm(None, 0, 0, "the engine gets no image right when clean")
    if 2 * turned <= n:
        return MinimalNorm(None, n, turned, f"{n - turned} of {n} images were never turned, so the median is unknown")
    median, middle = float(np.median(smallest)), np.sort(smallest)[(n - 1) // 2]
    unsought = np.zeros(n, np.bool_) if sought is None else ~sought[right]
    if (smallest[unsought] >= middle).any():
        reason = (
            f"{int(unsought.sum())} of {n} images were turned by attacks that do not look for the smallest change, so "
            f"the median is only known to be at most {median:.4g}: ask for the one that does alone, or name it first"
        )
        return MinimalNorm(None, n, turned, reason)
    return MinimalNorm(median, n, turned, None)
