"""The ball on NumPy arrays; `harness.attacks.ball` has it on torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.attacks.ball import Ball, Norm

Array = npt.NDArray[Any]

TOLERANCE = 1e-6
"""What roundings may put an image beyond its ball, in units of the pixel range."""

_CHUNK = 1000  # images at a time: in float64 many large ones would not fit
_WITHIN = np.float32(1 - 2.0**-20)  # of the radius: what the sums of an L2 norm in float32 may be off by


def project(adversarial: Array, images: Array, ball: Ball) -> Array:
    """Return a point of the ball around each image that is an image; see `Ball.project`.

    Args:
        adversarial: float32, shape (n, channels, height, width).
        images: the same; in [0, 1].
        ball: its norm and radius.
    """
    epsilon = np.float32(ball.epsilon)
    if ball.norm == "linf":
        near: Array = np.clip(adversarial, images - epsilon, images + epsilon)
        return near.clip(np.float32(0), np.float32(1))
    change = adversarial - images
    scale = np.minimum(np.float32(1), epsilon * _WITHIN / (lengths(change) + np.float32(1e-12)))
    drawn: Array = images + change * scale[:, None, None, None]
    return drawn.clip(np.float32(0), np.float32(1))


def is_inside(points: Array, images: Array, ball: Ball) -> Array:
    """Return where a point is in the ball around its image, so that `project` would leave it there, shape (n,)."""
    epsilon = np.float32(ball.epsilon)
    if ball.norm == "linf":
        inside = (points >= images - epsilon) & (points <= images + epsilon)
        within: Array = inside.all(axis=(1, 2, 3))
        return within
    near: Array = lengths(points - images) <= epsilon * _WITHIN
    return near


def on_sphere(change: Array, images: Array, ball: Ball) -> Array:
    """Return images moved by a change of L2 length epsilon, clipped to [0, 1] then; `change` is overwritten."""
    change *= (np.float32(ball.epsilon) * _WITHIN / (lengths(change) + np.float32(1e-12)))[:, None, None, None]
    change += images
    return change.clip(np.float32(0), np.float32(1), out=change)


def lengths(change: Array) -> Array:
    """Return the L2 norm of each image's change, float32, shape (n,)."""
    found: Array = np.sqrt(squared_lengths(change))
    return found


def squared_lengths(change: Array) -> Array:
    """Return the sum of squares of each image's change, float32, shape (n,)."""
    rows = np.einsum("...i,...i->...", change, change)  # one sum over all in float32 would be far off
    found: Array = rows.sum(axis=tuple(range(1, rows.ndim)))
    return found


def distances(versions: Array, originals: Array, norm: Norm) -> npt.NDArray[np.float64]:
    """Return how far each version lies from its original, float64 (k,), in units of the pixel range."""
    found = np.empty(len(versions), np.float64)
    for start in range(0, len(versions), _CHUNK):
        these = slice(start, start + _CHUNK)
        change = (versions[these].astype(np.float64) - originals[these]).reshape(len(versions[these]), -1)
        found[these] = np.abs(change).max(axis=1) if norm == "linf" else np.sqrt((change**2).sum(axis=1))
    return found
