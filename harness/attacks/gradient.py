"""The gradient that attacks follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.attack import Model


def cross_entropy_gradient(model: Model, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of every image's own cross-entropy, and that loss.

    Args:
        model: images to logits.
        images: float, shape (n, channels, height, width).
        labels: int64, shape (n,).

    Returns:
        The gradient, in the shape of `images`, and the losses, shape (n,), both detached.
    """
    import torch
    from torch.nn.functional import cross_entropy

    with torch.enable_grad():
        variable = images.detach().requires_grad_()
        losses = cross_entropy(model(variable).float(), labels, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), variable)
    return gradient, losses.detach()
