"""Victims that remember their questions, images for them, and the law that every attack keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.attacks.ball import Norm
from harness.attacks.victim import Victim, fooled

Array = npt.NDArray[Any]

PIXELS = arrays.arrays(
    np.float32,
    st.one_of(
        st.sampled_from([(2, 1, 1, 1), (3, 5, 1, 4), (2, 3, 7, 2), (1, 1, 11, 11), (2, 4, 5, 6)]),
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
    ),
    elements=st.floats(0.0, 1.0, width=32),
)


class Asked(Victim):
    """Scores by a function of images and rows.

    Attributes:
        rows: of every question.
        shown: its images.
        wrong: which of them fooled.
        winners: the images that fooled, by row, the last of each.
        counts: questions by row.
    """

    def __init__(self, function: Callable[[Array, Array], Array], labels: Array) -> None:
        self._function = function
        self._labels = labels
        self.rows: list[list[int]] = []
        self.shown: list[Array] = []
        self.wrong: list[Array] = []
        self.winners: dict[int, Array] = {}
        self.counts = np.zeros(len(labels), np.int64)

    def scores(self, images: Array, rows: Array) -> Array:
        """Return the function's scores and remember; see `Victim`."""
        found = self._function(images, rows).astype(np.float32)
        self.rows.append(rows.tolist())
        self.shown.append(images.copy())
        self.counts[rows] += 1
        won = fooled(found, self._labels[rows])
        self.wrong.append(won)
        self.winners.update({int(row): image.copy() for row, image in zip(rows[won], images[won], strict=True)})
        return found


class Linear:
    """Scores W x, summed for each image by itself, so that they do not depend on the batch.

    Attributes:
        weights: float32, shape (classes, channels, height, width).
    """

    def __init__(self, shape: tuple[int, ...], classes: int = 3, seed: int = 0) -> None:
        self.weights: Array = np.random.default_rng(seed).normal(size=(classes, *shape)).astype(np.float32)

    def __call__(self, images: Array) -> Array:
        """Return scores."""
        found: Array = (images[:, None] * self.weights).reshape(len(images), len(self.weights), -1).sum(axis=2)
        return found

    def labels(self, images: Array) -> Array:
        """Return its own decisions."""
        decisions: Array = self(images).argmax(axis=1).astype(np.int64)
        return decisions

    def asked(self, labels: Array) -> Asked:
        """Return it as a victim."""
        return Asked(lambda images, _: self(images), labels)


def constant(labels: Array, score: float = 0.0) -> Asked:
    """Return a victim that never changes its mind: the label's score is 1 above the others', or not finite."""
    return Asked(lambda _, rows: np.eye(10)[labels[rows]] + score, labels)


def greys(count: int, shape: tuple[int, ...] = (2, 4, 4), seed: int = 1) -> Array:
    """Return images in [0.3, 0.7], around which small balls are not clipped."""
    images: Array = np.random.default_rng(seed).random((count, *shape), np.float32) * np.float32(0.4) + np.float32(0.3)
    return images


def lengths(change: Array) -> Array:
    """Return L2 lengths in double precision."""
    found: Array = np.linalg.norm(change.reshape(len(change), -1).astype(np.float64), axis=1)
    return found


def check_inside(found: Array, images: Array, epsilon: float, norm: Norm) -> None:
    """Assert what every attack promises of what it returns, and of what it asks."""
    assert found.shape == images.shape
    assert found.dtype == np.float32
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    change = found.astype(np.float64) - images
    distance = np.abs(change).max() if norm == "linf" else lengths(change).max()
    assert distance <= epsilon + 1e-6
