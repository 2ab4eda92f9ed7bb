"""The set of allowed images: the Linf ball of radius epsilon around each image, inside [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def project(adversarial: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """Return the nearest point of the ball around `images` that is an image."""
    return adversarial.clamp(images - epsilon, images + epsilon).clamp_(0.0, 1.0)


def random_start(images: Tensor, epsilon: float, image_ids: Tensor, seed: int) -> Tensor:
    """Return a uniform point of the ball around each image.

    The draw depends on the seed and on the image's own id alone, so that results do not depend on how images are
    batched.

    Args:
        images: float, shape (n, channels, height, width), in [0, 1].
        epsilon: radius, in pixel units.
        image_ids: int64, shape (n,): the images' places in the data set.
        seed: of this restart.
    """
    import torch

    noise = torch.empty_like(images, device="cpu")
    for row, image_id in zip(noise, image_ids.tolist(), strict=True):
        # Seeds that differ in few bits give related streams: spread both numbers over all 64 bits first.
        mixed = (seed * 0x9E3779B97F4A7C15 + (image_id + 1) * 0xBF58476D1CE4E5B9) % 2**63
        row.uniform_(-epsilon, epsilon, generator=torch.Generator().manual_seed(mixed))
    return project(images + noise.to(images.device), images, epsilon)
