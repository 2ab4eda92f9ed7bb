"""Screening: what rounded scores show to be no better is not asked in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.attacks.victim import Victim, fooled

Array = npt.NDArray[Any]

_CHECKED_EVERY = 50  # times an image is asked
_MEMORY = 0.8  # of an image's error in the next check
_ALLOWED = (
    0.5  # of the error: so far above the best an estimate may be; what is lost is a few improvements in a hundred
)


class Screening:
    """Margins of a search that keeps what is lower than the lowest so far.

    A victim's estimate tells of most proposals that they are far from it. How far estimates are off is measured for
    each image by itself, so that no image's outcome depends on its company: now and then a proposal is asked in full,
    and the mean square of the difference remembered.

    Attributes:
        lowest: float32, shape (n,): the lowest margin of each image; -inf where it fooled the victim.
    """

    def __init__(self, victim: Victim, labels: Array) -> None:
        self._victim = victim
        self._labels = labels
        self.lowest = np.full(len(labels), np.inf, np.float32)
        self._estimates = self.lowest.copy()
        self._errors = np.full(len(labels), np.nan, np.float32)  # mean squares
        self._asked = np.zeros(len(labels), np.int64)

    def improved(self, points: Array, rows: Array) -> Array:
        """Return which points have a margin below the lowest of their image, which is theirs then, shape (m,).

        Args:
            points: float32, shape (m, channels, height, width).
            rows: int64, shape (m,): which images these are versions of.
        """
        rough = self._victim.estimate(points, rows)
        if rough is None:
            found = margins(self._victim.scores(points, rows), self._labels[rows])
        else:
            found = self._screened(points, rows, margins(rough, self._labels[rows], judged=False))
        better: Array = found < self.lowest[rows]
        self.lowest[rows[better]] = found[better]
        return better

    def _screened(self, points: Array, rows: Array, estimates: Array) -> Array:
        """Return margins, infinite where the estimate shows that they are not below the lowest."""
        change = estimates - self._estimates[rows]
        check = (self._asked[rows] % _CHECKED_EVERY == 0) | np.isnan(self._errors[rows])
        self._asked[rows] += 1
        hopeful = check | ~(change >= _ALLOWED * np.sqrt(self._errors[rows]))
        found = np.full(len(rows), np.inf, np.float32)
        asked = rows[hopeful]
        found[hopeful] = margins(self._victim.scores(points[hopeful], asked), self._labels[asked])
        with np.errstate(invalid="ignore"):
            error = np.square(change - (found - self.lowest[rows]))
        known = check & np.isfinite(error)
        before = self._errors[rows[known]]
        self._errors[rows[known]] = np.where(
            np.isnan(before), error[known], _MEMORY * before + (1 - _MEMORY) * error[known]
        )
        better = found < self.lowest[rows]
        self._estimates[rows[better]] = estimates[better]
        return found


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
