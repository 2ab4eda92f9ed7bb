"""Projection of points onto hyperplanes inside the box [0, 1], in the Linf and L2 norm, without sorting.

The smallest change takes every value along the normal as far as the level says (Linf: the level itself, L2: the level
times the normal's value) or to the box's face, whichever comes first. What this gains is a concave, piecewise linear
function of the level, so that Newton's method climbs from zero to the root from below and ends on the root's own piece
after finitely many steps, mostly three or four. The authors of FAB (Croce and Hein 2020, arXiv 1907.02044) sort the
pieces instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.ball import Norm

_TINY = 1e-30  # least length of a normal that is scaled to 1
_MOST = 1e30  # a finite level that moves every value as far as it can go


def shortest_step(points: Tensor, normals: Tensor, gaps: Tensor, norm: Norm) -> Tensor:
    """Return the smallest changes with normal . change = gap that keep the points in [0, 1], shape (n, ...).

    Where the box does not reach the hyperplane, it comes as near as the box allows. Values whose normal is 0 stay.

    Args:
        points: float, shape (n, ...), in [0, 1].
        normals: finite, same shape.
        gaps: finite, shape (n,): what the hyperplanes' equations lack at the points.
        norm: "linf" or "l2": of the changes, what is to be smallest.
    """
    import torch

    values = tuple(range(1, points.ndim))
    gaps = gaps.reshape(-1, *(1,) * len(values))
    normals = normals * gaps.sign()
    weights = normals.abs()
    largest = weights.amax(values, keepdim=True).clamp_(min=_TINY)
    weights, gaps = weights / largest, gaps.abs() / largest
    room = torch.where(normals > 0, 1 - points, points)
    profile = weights if norm == "l2" else torch.ones_like(gaps)
    gains = weights * room
    beyond = gains.sum(values, keepdim=True) <= gaps
    level = _level(room, profile, weights * profile, gains, gaps.masked_fill(beyond, 0.0))
    return torch.minimum(level * profile, room).where(~beyond, room) * normals.sign()


def _level(room: Tensor, profile: Tensor, slopes: Tensor, gains: Tensor, gaps: Tensor) -> Tensor:
    """Return where sum_i of the smaller of slope_i level and gain_i is the gap, in the shape of `gaps`.

    A value stops where level * profile is its room, which is what `slopes` and `gains` are made of.
    """
    values = tuple(range(1, room.ndim))
    level = gaps.new_zeros(gaps.shape)
    while True:
        free = room > level * profile
        slope = (slopes * free).sum(values, keepdim=True)
        rest = gaps - gains.masked_fill(free, 0.0).sum(values, keepdim=True)
        following = (rest / slope).clamp(max=_MOST).where(slope > 0, level).maximum(level)
        if not (following > level).any():
            return level
        level = following
