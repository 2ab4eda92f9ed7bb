"""Screening: what rounded scores show to be no better is not asked in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.attacks.victim import Victim, fooled

Array = npt.NDArray[Any]


class Screening:
    """Margins of a search that keeps what is lower than the lowest so far.

    A proposal whose estimate is above that of the best point is not asked in full. Two estimates share most of what
    rounding did to them, so that their difference tells more than either; where it is nothing, the scores decide. What
    is lost are changes smaller than the rounding that is left.

    Attributes:
        lowest: float32, shape (n,): the lowest margin of each image; -inf where it fooled the victim.
    """

    def __init__(self, victim: Victim, labels: Array) -> None:
        self._victim = victim
        self._labels = labels
        self.lowest = np.full(len(labels), np.inf, np.float32)
        self._estimates = self.lowest.copy()

    def improved(self, points: Array, rows: Array) -> Array:
        """Return which points have a margin below the lowest of their image, which is theirs then, shape (m,).

        Args:
            points: float32, shape (m, channels, height, width).
            rows: int64, shape (m,): which images these are versions of.
        """
        estimates = self._estimated(points, rows)
        asked = np.flatnonzero(~(estimates > self._estimates[rows]))
        found = np.full(len(rows), np.inf, np.float32)
        if len(asked):
            found[asked] = margins(self._victim.scores(points[asked], rows[asked]), self._labels[rows[asked]])
        better: Array = found < self.lowest[rows]
        self.lowest[rows[better]] = found[better]
        self._estimates[rows[better]] = estimates[better]
        return better

    def _estimated(self, points: Array, rows: Array) -> Array:
        """Return the points' margins by rounded scores; -inf, which nothing is above, where the victim has none."""
        rough = self._victim.estimate(points, rows)
        if rough is None:
            return np.full(len(rows), -np.inf, np.float32)
        return margins(rough, self._labels[rows], judged=False)


def margins(scores: Array, labels: Array, *, judged: bool = True) -> Array:
    """Return how far the label's score is above the largest of the others, float32, shape (m,).

    Args:
        scores: float32, shape (m, classes).
        labels: int64, shape (m,).
        judged: return -inf where the scores mean that the victim is fooled.
    """
    rows = np.arange(len(labels))
    own = scores[rows, labels]
    others = scores.copy()
    others[rows, labels] = -np.inf
    with np.errstate(invalid="ignore"):
        found: Array = own - others.max(axis=1)
    if judged:
        found[fooled(scores, labels)] = -np.inf
    return found
