"""RayS (Chen and Gu 2020, arXiv 2006.12792): the nearest wrong decision along rays of signs; decisions alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from harness.attacks.attack import BlackBox
from harness.attacks.ball import Ball
from harness.attacks.black_box.projection import is_inside, project
from harness.attacks.victim import Victim, fooled

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class RayS(BlackBox):
    """Flips the signs of ever smaller blocks of a ray, where that brings the wrong decision nearer.

    A ray moves every value up or down by the same radius and clips to [0, 1]; radii are found by binary search. For L2
    the signs are a direction of unit length, that is the same rays; a point's distance is then L2. An image is done as
    soon as a point inside the ball fooled the victim: distances are those of the clipped points. It draws nothing at
    random, and is the weaker the more an L2 ball's best directions leave most values as they are.

    Attributes:
        queries: an image.
        tolerance: of the binary search, in units of the L2 length of a ray, as in the authors' code.
    """

    name: ClassVar[str] = "rays"

    queries: int = 10_000
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise InputError(f"attack.rays: queries must be at least 1, got {self.queries}")
        if not 0.0 < self.tolerance < math.inf:
            raise InputError(f"attack.rays: tolerance must be finite and above 0, got {self.tolerance}")

    def run(self, victim: Victim, images: Array, labels: Array, ball: Ball, image_ids: Array, seed: int) -> Array:
        """Attack a batch; see `BlackBox`. Every image asks one question at a time, and all that stand ask together."""
        del image_ids, seed
        rays = _Rays(images, self.tolerance)
        found: Array = images.copy()
        standing = np.arange(len(images))
        for _ in range(self.queries):
            points = rays.points(standing, rays.asked_radii(standing))
            won = fooled(victim.scores(points, standing), labels[standing])
            done = won.copy()
            done[won] = is_inside(points[won], images[standing[won]], ball)
            found[standing[done]] = points[done]
            standing, won = standing[~done], won[~done]
            if len(standing) == 0:
                return found
            rays.learn(standing, won)
        found[standing] = project(rays.nearest(standing), images[standing], ball)
        return found


class _Rays:
    """Where the search along rays stands, for every image by itself.

    An image first asks whether its ray with one block flipped is wrong at the radius that is known to be; if so, it
    searches for the smallest radius.

    Attributes:
        signs: -1 or 1, float32, shape (n, values of an image), the tried block flipped.
        begin, size: of the tried block, in values; every block of one size is tried before the size is halved.
        radius: smallest one known to be wrong, inf if none is.
        low, high: of the binary search.
        searching: whether it goes on.
    """

    def __init__(self, images: Array, tolerance: float) -> None:
        count = len(images)
        self._images = images.reshape(count, -1)
        self._shape = images.shape[1:]
        self._values = self._images.shape[1]
        self._tolerance = tolerance / math.sqrt(self._values)
        self.signs = np.full(self._images.shape, -1, np.float32)
        self.begin = np.zeros(count, np.int64)
        self.size = np.full(count, self._values)
        self.radius = np.full(count, np.inf)
        self.low, self.high = np.zeros(count), np.ones(count)
        self.searching = np.zeros(count, bool)

    def asked_radii(self, rows: Array) -> Array:
        """Return the radii that images ask about next, shape (m,); 1 reaches every corner of the box."""
        middle = (self.low[rows] + self.high[rows]) / 2
        radii: Array = np.where(self.searching[rows], middle, np.minimum(self.radius[rows], 1.0))
        return radii

    def points(self, rows: Array, radii: Array) -> Array:
        """Return the points at these radii of images' rays, float32, shape (m, channels, height, width)."""
        made = self.signs[rows]
        made *= radii.astype(np.float32)[:, None]
        made += self._images[rows]
        made.clip(np.float32(0), np.float32(1), out=made)
        points: Array = made.reshape(len(rows), *self._shape)
        return points

    def learn(self, rows: Array, wrong: Array) -> None:
        """Take the answers to what was asked."""
        searched, asked = self.searching[rows], self.asked_radii(rows)
        self.high[rows[wrong]] = asked[wrong]
        right = searched & ~wrong
        self.low[rows[right]] = asked[right]

        promising = rows[~searched & wrong]
        self.low[promising] = 0.0
        self.searching[promising] = True

        narrow = self.high[rows] - self.low[rows] <= self._tolerance
        self._next_block(rows[np.where(searched, narrow, ~wrong)])

    def _next_block(self, rows: Array) -> None:
        """Keep the flip of the blocks that brought a smaller radius, undo the others', and flip each one's next."""
        better = self.searching[rows] & (self.high[rows] < self.radius[rows])
        self.radius[rows[better]] = self.high[rows[better]]
        self._flip(rows[~better])
        self.searching[rows] = False
        self.begin[rows] += self.size[rows]
        through = rows[self.begin[rows] >= self._values]
        self.begin[through] = 0
        self.size[through] = (self.size[through] + 1) // 2
        self._flip(rows)

    def _flip(self, rows: Array) -> None:
        """Flip the tried blocks of images."""
        begin = self.begin[rows]
        lengths = np.minimum(self.size[rows], self._values - begin)
        ends = np.cumsum(lengths)
        first = rows * self._values + begin - (ends - lengths)
        blocks = np.repeat(first, lengths) + np.arange(lengths.sum())
        self.signs.reshape(-1)[blocks] *= np.float32(-1)

    def nearest(self, rows: Array) -> Array:
        """Return the nearest wrong points that images know, as `points`; the rays' ends where they know none."""
        self._flip(rows)
        return self.points(rows, np.minimum(self.radius[rows], 1.0))
