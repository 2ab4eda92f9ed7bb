"""Gradients that Taylor importances are taken from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def gradients_of(
    images: Tensor, labels: Tensor, batch: int, attack: Attack | None = None
) -> Callable[[nn.Module], None]:
    """Return what adds the gradients of the mean cross-entropy over images to a model's `grad`.

    The model runs in evaluation mode, so that no running statistics move, on the device where its weights are.

    Args:
        images: float32, shape (n, channels, height, width), in [0, 1].
        labels: int64, shape (n,).
        batch: number of images at once.
        attack: (model, images, labels) -> adversarial images of the same shape; None for the images as they are.
    """
    import torch
    from torch.nn.functional import cross_entropy

    def accumulate(model: nn.Module) -> None:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        before, training = [weight.grad for weight in weights], model.training
        totals = [torch.zeros_like(weight) for weight in weights]
        model.eval()
        with torch.enable_grad():
            for pixels, classes in zip(torch.split(images, batch), torch.split(labels, batch), strict=True):
                given, wanted = pixels.to(weights[0].device), classes.to(weights[0].device)
                if attack is not None:
                    given = attack(model, given, wanted).detach()
                loss = cross_entropy(model(given), wanted, reduction="sum") / len(labels)
                parts = torch.autograd.grad(loss, weights, allow_unused=True)
                totals = [old if new is None else old + new for old, new in zip(totals, parts, strict=True)]
        # An attack may have left gradients of its own.
        for weight, grad, total in zip(weights, before, totals, strict=True):
            weight.grad = total if grad is None else grad + total
        model.train(training)

    return accumulate
