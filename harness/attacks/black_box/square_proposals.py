"""What Square Attack asks next: an image changed inside a random square, a way of changing it for each norm."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from harness.attacks.ball import Ball

Array = npt.NDArray[Any]
Draw = Callable[[tuple[int, ...]], Array]
"""From a shape to uniform numbers in [0, 1) for each asked image, float32, shape (m, *shape)."""
Corners = tuple[Array, Array, Array, Array]
"""Indices of images, channels, rows and columns, that broadcast to (m, channels)."""


class Proposals(ABC):
    """Proposals for a batch of images, float32, shape (n, channels, height, width), in [0, 1]."""

    def __init__(self, images: Array, ball: Ball) -> None:
        self.images = images
        self.ball = ball
        self.channels, self.height, self.width = images.shape[1:]

    @abstractmethod
    def first(self, rows: Array, draw: Draw) -> Array:
        """Return the points that the search starts from, float32, shape (m, channels, height, width).

        Args:
            rows: int64, shape (m,): which images of the batch are asked.
            draw: random numbers for them.
        """

    @abstractmethod
    def next(self, best: Array, rows: Array, share: float, draw: Draw) -> Array:
        """Return changed copies of the best points so far, float32, shape (m, channels, height, width).

        Args:
            best: of all images of the batch, shape (n, channels, height, width).
            rows: int64, shape (m,): which images are asked.
            share: of the image's area, what the square covers.
            draw: random numbers for them.
        """

    def side(self, share: float, least: int = 1) -> int:
        """Return the side of a square that covers a share of the area, at least `least`, in pixels."""
        return max(round(math.sqrt(share * self.height * self.width)), least)

    def corners(self, numbers: Array, side: int) -> Corners:
        """Return where a square begins in each image, its index into `squares` of the asked images.

        Every position is as likely; the authors' code leaves the last row and the last column out.

        Args:
            numbers: uniform in [0, 1), shape (m, 2).
            side: of the squares, in pixels.
        """
        span = np.array([self.height - side + 1, self.width - side + 1], np.float32)
        top_left = (numbers * span).astype(np.int64)  # below the span: a product is never rounded up to it
        return np.arange(len(numbers))[:, None], np.arange(self.channels), top_left[:, :1], top_left[:, 1:]


def squares(images: Array, side: int) -> Array:
    """Return a view of every square of images, shape (..., height - side + 1, width - side + 1, side, side)."""
    view: Array = sliding_window_view(images, (side, side), axis=(-2, -1), writeable=True)
    return view


class LinfProposals(Proposals):
    """Corners of the ball: every value at the ball's upper or lower end, channels of a square at one of them."""

    def __init__(self, images: Array, ball: Ball) -> None:
        super().__init__(images, ball)
        epsilon = np.float32(ball.epsilon)
        # Twice epsilon, cut down to the ball, is what the authors add: from the lower end to the upper one.
        self._ends = np.stack([images - epsilon, images + epsilon])
        self._ends.clip(np.float32(0), np.float32(1), out=self._ends)

    def first(self, rows: Array, draw: Draw) -> Array:
        """Return vertical stripes, one pixel wide; see `Proposals`."""
        up = draw((self.channels, 1, self.width)) >= 0.5
        stripes: Array = np.where(up, self._ends[1, rows], self._ends[0, rows])
        return stripes

    def next(self, best: Array, rows: Array, share: float, draw: Draw) -> Array:
        """Set a square to an end of the ball in every channel; see `Proposals`."""
        side = min(self.side(share), self.height, self.width)
        numbers = draw((2 + self.channels,))
        asked, channels, top, left = self.corners(numbers[:, :2], side)
        end = (numbers[:, 2:] >= 0.5).astype(np.int64)
        points: Array = best[rows]
        values = squares(self._ends, side)[end, rows[:, None], channels, top, left]
        squares(points, side)[asked, channels, top, left] = values
        return points
