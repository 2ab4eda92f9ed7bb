"""Running any attack on a model, from NumPy arrays to NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.attacks.attack import Attack, BlackBox
from harness.attacks.ball import Norm

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from torch import nn

    Array = npt.NDArray[Any]


def adversarial_images(
    attack: Attack | BlackBox,
    model: nn.Module,
    images: Array,
    labels: Array,
    *,
    epsilon: float,
    norm: Norm,
    image_ids: Array,
    seed: int,
    half: torch.dtype | None = None,
) -> Array:
    """Return a model's adversarial images, float32 of the images' shape, inside the ball and inside [0, 1].

    Args:
        attack: with its hyper-parameters.
        model: is attacked, and decides; in evaluation mode, on the CPU.
        images: float32, shape (n, channels, height, width), in [0, 1].
        labels: int64, shape (n,).
        epsilon: radius, in units of the pixel range.
        norm: of the ball.
        image_ids: int64, shape (n,): places in the data set, which random draws depend on.
        seed: of all random draws.
        half: type that gradients are computed in; None for float32, which decisions are taken in always.
    """
    import torch

    from harness.attacks.differentiable import Differentiable

    given = (torch.from_numpy(np.ascontiguousarray(array)) for array in (images, labels, image_ids))
    pixels, classes, ids = given
    found = attack(Differentiable(model, half), pixels, classes, epsilon=epsilon, norm=norm, image_ids=ids, seed=seed)
    return found.numpy()
