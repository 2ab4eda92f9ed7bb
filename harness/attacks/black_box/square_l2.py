"""Square Attack's proposals for L2: the change of one square is moved into another, where it takes a new shape."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.attacks.black_box.projection import on_sphere, squared_lengths
from harness.attacks.black_box.square_proposals import Draw, Proposals, squares

Array = npt.NDArray[Any]

_LEAST_SIDE = 3
_TILES = 5  # a side of the image at the start
_TINY = np.float32(1e-12)


class L2Proposals(Proposals):
    """Points at distance epsilon before they are clipped to [0, 1], their change gathered in bumps."""

    def first(self, rows: Array, draw: Draw) -> Array:
        """Return images covered by tiles of bumps of random signs and orientations; see `Proposals`."""
        side = max(min(self.height, self.width) // _TILES, 1)
        down, across = self.height // side, self.width // side
        heads = _bits(draw((1 + self.channels, down, across)))
        bump = np.where(heads[:, :1], bumps(side), bumps(side).T)
        tiles = np.where(heads[:, 1:], bump, -bump)
        covered = tiles.transpose(0, 1, 2, 4, 3, 5).reshape(len(rows), self.channels, down * side, across * side)
        top, left = (self.height - down * side) // 2, (self.width - across * side) // 2
        change = np.zeros((len(rows), self.channels, self.height, self.width), np.float32)
        change[:, :, top : top + down * side, left : left + across * side] = covered
        return on_sphere(change, self.images[rows], self.ball)

    def next(self, best: Array, rows: Array, share: float, draw: Draw) -> Array:
        """Empty one square into another; see `Proposals`.

        The length that clipping took from the whole change goes to the square too, an equal part for each channel.
        """
        side = min(self.side(share, _LEAST_SIDE) | 1, self.height, self.width)
        numbers = draw((5 + self.channels,))
        images = self.images[rows]
        change = best[rows] - images
        unused = np.maximum(np.float32(self.ball.epsilon) ** 2 - squared_lengths(change), np.float32(0))

        view = squares(change, side)
        filled, emptied = self.corners(numbers[:, 0:2], side), self.corners(numbers[:, 2:4], side)
        old = view[filled]
        view[filled] = np.float32(0)
        taken = _squared(old) + _squared(view[emptied])  # what both squares hold is counted once
        view[emptied] = np.float32(0)

        bump = np.where(_bits(numbers[:, 4:5]), bumps(side), bumps(side).T)
        new = np.where(_bits(numbers[:, 5:]), bump, -bump) + old / (np.sqrt(_squared(old)) + _TINY)
        length = np.sqrt(unused[:, None, None, None] / np.float32(self.channels) + taken)
        view[filled] = new * (length / (np.sqrt(_squared(new)) + _TINY))
        return on_sphere(change, images, self.ball)


@lru_cache(maxsize=64)
def bumps(side: int) -> Array:
    """Return a bump over one of opposite sign, each half a square, float32, shape (side, side), of length 1."""
    upper = side // 2
    square = np.zeros((side, side))
    square[:upper] = _bump(upper, side)
    square[upper:] = -_bump(side - upper, side)
    found: Array = (square / np.linalg.norm(square)).astype(np.float32)
    found.setflags(write=False)
    return found


def _bump(height: int, width: int) -> Array:
    """Return the sum of 1 / k^2 over the k-th of squares that grow around the middle, of length 1."""
    down = np.abs(np.arange(height) - height // 2)[:, None]
    across = np.abs(np.arange(width) - width // 2)
    inner = np.maximum(down, across)  # the first square that holds a pixel
    steps = 1.0 / np.arange(1, max(height, width) // 2 + 2) ** 2
    tails = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    bump: Array = tails[np.minimum(inner, len(steps))]
    return bump / max(float(np.linalg.norm(bump)), 1e-12)


def _bits(numbers: Array) -> Array:
    """Return a fair coin for each uniform number, with two axes more."""
    heads: Array = numbers[..., None, None] >= 0.5
    return heads


def _squared(values: Array) -> Array:
    """Return the squared length of every square, its two axes kept with one value each."""
    total: Array = np.einsum("icjk,icjk->ic", values, values)[..., None, None]
    return total
