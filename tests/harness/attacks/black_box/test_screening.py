"""What screening leaves out is what estimates show to be no better, however far off they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.attacks.black_box.screening import Screening, margins
from harness.attacks.victim import Victim

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]

IMAGES = 20


class Rounding(Victim):
    """The first pixel is the margin; estimates of it are off by normal errors.

    Attributes:
        asked: how many images were asked in full.
    """

    def __init__(self, error: float | None) -> None:
        self._error = error
        self._random = np.random.default_rng(0)
        self.asked = 0

    def scores(self, images: Array, rows: Array) -> Array:
        """Return exact scores; see `Victim`."""
        self.asked += len(rows)
        return self._scores(images[:, 0, 0, 0])

    def estimate(self, images: Array, rows: Array) -> Array | None:
        """Return rounded ones; see `Victim`."""
        if self._error is None:
            return None
        return self._scores(images[:, 0, 0, 0] + self._random.normal(0, self._error, len(rows)))

    def _scores(self, found: Array) -> Array:
        return np.stack([found, np.zeros(len(found)), np.full(len(found), -9.0)], axis=1).astype(np.float32)


def searched(error: float | None, rounds: int = 400) -> tuple[Rounding, Screening, int]:
    """Return a search by proposals around the best point, and how many of them were better and were left out."""
    random = np.random.default_rng(1)
    victim, labels = Rounding(error), np.zeros(IMAGES, np.int64)
    search, rows = Screening(victim, labels), np.arange(IMAGES)
    points: Array = np.full((IMAGES, 1, 1, 1), 100.0, np.float32)
    assert search.improved(points, rows).all()
    lost = 0
    for _ in range(rounds):
        points = (search.lowest + random.normal(1.0, 1.0, IMAGES)).astype(np.float32).reshape(points.shape)
        below = points[:, 0, 0, 0] < search.lowest
        better = search.improved(points, rows)
        assert not (better & ~below).any(), "what is not better was taken"
        np.testing.assert_array_equal(search.lowest[better], points[better, 0, 0, 0])
        lost += int((below & ~better).sum())
    return victim, search, lost


def test_a_victim_without_estimates_is_asked_everything() -> None:
    victim, _, lost = searched(None)
    assert lost == 0
    assert victim.asked == IMAGES * 401


@pytest.mark.parametrize(
    ("error", "share_asked", "share_lost"), [(0.001, 0.17, 0.01), (0.1, 0.18, 0.15), (0.5, 0.3, 0.5)]
)
def test_the_worse_estimates_are_the_more_is_asked(error: float, share_asked: float, share_lost: float) -> None:
    victim, _, lost = searched(error)
    improvements = IMAGES * 400 * 0.159  # of a normal step of mean and deviation 1, below zero
    assert victim.asked < share_asked * IMAGES * 401
    assert lost < share_lost * improvements


def test_where_estimates_are_rounded_alike_the_scores_decide() -> None:
    labels = np.zeros(1, np.int64)

    class Coarse(Rounding):
        def estimate(self, images: Array, rows: Array) -> Array:
            return self._scores(images[:, 0, 0, 0].round())

    search, rows = Screening(Coarse(0.0), labels), np.arange(1)
    for value in (5.2, 5.1, 4.9, 4.6):
        assert search.improved(np.full((1, 1, 1, 1), value, np.float32), rows).all()


def test_each_image_s_outcome_is_its_own() -> None:
    labels = np.zeros(2, np.int64)
    steps = np.random.default_rng(2).normal(-0.01, 0.3, 200).astype(np.float32)

    class Coarse(Victim):
        def scores(self, images: Array, rows: Array) -> Array:
            return np.stack([images[:, 0, 0, 0], np.zeros(len(rows), np.float32)], axis=1)

        def estimate(self, images: Array, rows: Array) -> Array | None:
            return self.scores(images.round(1), rows)

    def lowest(rows: list[int]) -> float:
        search = Screening(Coarse(), labels)
        for step in steps:
            base = np.where(np.isfinite(search.lowest), search.lowest, np.float32(50.0))
            search.improved(
                (base[rows] + step * (1 + np.array(rows))).astype(np.float32).reshape(-1, 1, 1, 1), np.array(rows)
            )
        return float(search.lowest[1])

    assert lowest([1]) == lowest([0, 1])


def test_a_margin_is_that_of_the_label_above_the_others_and_fooling_is_minus_infinity() -> None:
    scores = np.array([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0], [np.nan, 0.0, 1.0]], np.float32)
    labels = np.zeros(3, np.int64)
    np.testing.assert_array_equal(margins(scores, labels), [1.0, -np.inf, -np.inf])
    np.testing.assert_array_equal(margins(scores[:2], labels[:2], judged=False), [1.0, -2.0])
