"""The set of allowed images: the ball of radius epsilon around each image, inside [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from contracts.errors import InputError
from harness.attacks import draws

if TYPE_CHECKING:
    from torch import Tensor

Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = get_args(Norm)

_WITHIN = 1 - 2.0**-20  # of the radius: what the sums of an L2 norm in float32 may be off by
_TINY = 1e-12


@dataclass(frozen=True)
class Ball:
    """A ball in the Linf or L2 norm, on torch tensors; images are float32, shape (n, channels, height, width).

    Attributes:
        norm: "linf", the largest change of any value, or "l2", the root of the sum of all squared changes.
        epsilon: radius, in units of the pixel range: 8/255 for eight levels of an 8-bit image.
    """

    norm: Norm
    epsilon: float

    def __post_init__(self) -> None:
        check_radius(self.norm, self.epsilon)

    def project(self, adversarial: Tensor, images: Tensor) -> Tensor:
        """Return a point of the ball around `images` that is an image; for Linf the nearest one, for L2 nearly so.

        What lies outside the L2 ball is drawn back to its surface first and clipped to [0, 1] then, as Auto-PGD does.
        """
        if self.norm == "linf":
            return adversarial.clamp(images - self.epsilon, images + self.epsilon).clamp_(0.0, 1.0)
        change = adversarial - images
        scale = (self.epsilon * _WITHIN / (_length(change) + _TINY)).clamp_(max=1.0)
        return (images + change * scale).clamp_(0.0, 1.0)

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the steepest ascent of norm 1: the gradient's sign for Linf, the gradient over its length for L2.

        However small a gradient is, its direction counts; values that are NaN stand still.
        """
        import torch

        if self.norm == "linf":
            return gradient.sign()  # 0 for NaN
        finite = gradient.nan_to_num(0.0)
        largest = finite.abs().amax(dim=(1, 2, 3), keepdim=True)
        scaled = finite / largest.clamp_(min=torch.finfo(gradient.dtype).tiny)  # squares neither vanish nor overflow
        steepest: Tensor = scaled / (_length(scaled) + _TINY)
        return steepest

    def distances(self, adversarial: Tensor, images: Tensor) -> Tensor:
        """Return how far each image was moved, in this ball's norm, shape (n,)."""
        change = adversarial - images
        if self.norm == "linf":
            return change.abs().flatten(1).amax(1)
        return _length(change).flatten()

    def random_point(self, images: Tensor, image_ids: Tensor, seed: int, stream: int = 0) -> Tensor:
        """Return a random point of the ball: uniform for Linf; in a uniform direction at a uniform distance for L2."""
        if self.norm == "linf":
            return self.project(images + self.epsilon * _uniform(images, image_ids, seed, stream), images)
        distance = _tensor(draws.uniform(seed, image_ids.cpu().numpy(), 2 * stream + 1, (1, 1, 1)), images)
        return self.project(images + distance * self._radial(images, image_ids, seed, stream), images)

    def random_surface_point(self, images: Tensor, image_ids: Tensor, seed: int, stream: int = 0) -> Tensor:
        """Return a random point whose distance is epsilon before it is clipped to [0, 1]."""
        if self.norm == "linf":
            noise = _uniform(images, image_ids, seed, stream)
            noise = noise / (noise.abs().amax(dim=(1, 2, 3), keepdim=True) + _TINY)
            return self.project(images + self.epsilon * noise, images)
        return self.project(images + self._radial(images, image_ids, seed, stream), images)

    def _radial(self, images: Tensor, image_ids: Tensor, seed: int, stream: int) -> Tensor:
        """Return changes of length epsilon in uniform directions."""
        noise = _tensor(draws.normal(seed, image_ids.cpu().numpy(), 2 * stream, tuple(images.shape[1:])), images)
        radial: Tensor = self.epsilon * self.direction(noise)
        return radial


def check_radius(norm: str, epsilon: float) -> None:
    """Refuse a radius that cannot be meant.

    Raises:
        InputError: unknown norm; a radius that is not above 0 or not finite; an Linf radius above 1.
    """
    if norm not in NORMS:
        raise InputError(f"norm {norm!r} is not known: use {' or '.join(NORMS)}")
    if not 0.0 < epsilon < np.inf:
        raise InputError(f"epsilon must be finite and above 0, got {epsilon}")
    if norm == "linf" and epsilon > 1.0:
        raise InputError(
            f"epsilon {epsilon:g} is more than the whole pixel range, in whose units it counts: for levels of an 8-bit "
            f"image write {epsilon / 255:.4g} ({epsilon:g}/255)"
        )


def _length(change: Tensor) -> Tensor:
    """Return the L2 norm of each image's change, shape (n, 1, 1, 1); by rows, as a long sum in float32 is far off."""
    import torch

    rows = torch.linalg.vector_norm(change, dim=3, keepdim=True)
    length: Tensor = torch.linalg.vector_norm(rows, dim=(1, 2), keepdim=True)
    return length


def _uniform(images: Tensor, image_ids: Tensor, seed: int, stream: int) -> Tensor:
    """Return uniform numbers in [-1, 1), in the shape of the images."""
    return 2 * _tensor(draws.uniform(seed, image_ids.cpu().numpy(), stream, tuple(images.shape[1:])), images) - 1


def _tensor(array: draws.Array, like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(array).to(like.device)
