"""Random noise of the ball's full strength: what any robust model must stand, and a bound that needs no gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from harness.attacks import draws
from harness.attacks.attack import BlackBox
from harness.attacks.ball import Ball
from harness.attacks.black_box.projection import lengths, project
from harness.attacks.victim import Victim, fooled

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Noise(BlackBox):
    """Points at distance epsilon, drawn for every image until one fools the victim: corners for Linf.

    Attributes:
        draws: points an image.
    """

    name: ClassVar[str] = "noise"

    draws: int = 10

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"attack.noise: draws must be at least 1, got {self.draws}")

    def run(self, victim: Victim, images: Array, labels: Array, ball: Ball, image_ids: Array, seed: int) -> Array:
        """Attack a batch; see `BlackBox`."""
        current: Array = images.copy()
        standing = np.arange(len(images))
        for draw in range(self.draws):
            noise = _on_the_surface(ball, images.shape[1:], image_ids[standing], seed, draw)
            current[standing] = project(images[standing] + noise, images[standing], ball)
            won = fooled(victim.scores(current[standing], standing), labels[standing])
            standing = standing[~won]
            if len(standing) == 0:
                break
        return current


def _on_the_surface(ball: Ball, shape: tuple[int, ...], image_ids: Array, seed: int, draw: int) -> Array:
    epsilon = np.float32(ball.epsilon)
    if ball.norm == "linf":
        corners: Array = epsilon * draws.signs(seed, image_ids, draw, shape)
        return corners
    noise = draws.normal(seed, image_ids, draw, shape)
    found: Array = noise * (epsilon / lengths(noise))[:, None, None, None]
    return found
