"""The ball on NumPy arrays; `harness.attacks.ball` has it on torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.attacks.ball import Ball

Array = npt.NDArray[Any]

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


def lengths(change: Array) -> Array:
    """Return the L2 norm of each image's change, float32, shape (n,)."""
    flat = change.reshape(len(change), -1)
    found: Array = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    return found
