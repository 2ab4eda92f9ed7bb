"""Random signs of the ball's radius: what any robust model must stand, and a bound that needs no gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from harness.attacks.attack import BlackBoxJudge

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Corners of the Linf ball, drawn at random for every image until one fools the target.

    Attributes:
        draws: corners an image; without a judge the first is taken.
    """

    needs_gradient: ClassVar[bool] = False

    draws: int = 10

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"attack.noise: draws must be at least 1, got {self.draws}")

    def __call__(
        self, judge: BlackBoxJudge | None, images: Array, labels: Array, *, epsilon: float, image_ids: Array, seed: int
    ) -> Array:
        """Attack a batch; see `BlackBoxAttack`."""
        del labels
        current: Array = images.copy()
        standing = np.arange(len(images))
        for draw in range(self.draws if judge is not None else 1):
            signs = np.stack([_signs(images.shape[1:], seed, draw, int(row)) for row in image_ids[standing]])
            current[standing] = np.clip(images[standing] + np.float32(epsilon) * signs, 0.0, 1.0)
            if judge is not None:
                standing = standing[~judge(current[standing], standing)]
            if len(standing) == 0:
                break
        return current


def _signs(shape: tuple[int, ...], seed: int, draw: int, image_id: int) -> Array:
    """Draw -1 or 1 for every value, by the image's own generator: results do not depend on the batch."""
    random = np.random.default_rng([seed, draw, image_id])
    signs: Array = random.integers(0, 2, shape).astype(np.float32) * np.float32(2) - np.float32(1)
    return signs
