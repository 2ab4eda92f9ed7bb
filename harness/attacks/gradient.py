"""The gradient that attacks follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.attack import Model


def cross_entropy_gradient(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of every image's own cross-entropy.

    Args:
        model: images to logits.
        images: float, shape (n, channels, height, width).
        labels: int64, shape (n,).

    Returns:
        The gradient, in the shape of `images`.
    """
    import torch

    with torch.enable_grad():
        variable = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(_cross_entropy(model, variable, labels).sum(), variable)
    return gradient


def cross_entropy_losses(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Return every image's own cross-entropy, shape (n,), without a gradient; arguments as above."""
    import torch

    with torch.no_grad():
        return _cross_entropy(model, images, labels)


def _cross_entropy(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(model(images).float(), labels, reduction="none")
