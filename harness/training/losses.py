"""What a training step lowers, given the perturbed images; the logits returned with it are theirs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from harness.training.recipe import Recipe


def on_perturbed(
    model: nn.Module, images: Tensor, perturbed: Tensor, labels: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy on the perturbed images."""
    del images
    logits = model(perturbed).float()
    return cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing), logits


def trades(
    model: nn.Module, images: Tensor, perturbed: Tensor, labels: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy on the clean images and `trades_beta` times the divergence (Zhang et al. 2019)."""
    clean, logits = model(images).float(), model(perturbed).float()
    apart = divergence(log_softmax(clean, 1), log_softmax(logits, 1)).mean()
    loss = cross_entropy(clean, labels, label_smoothing=recipe.label_smoothing) + recipe.trades_beta * apart
    return loss, logits


def divergence(clean: Tensor, other: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence KL(clean || other) of every image, shape (n,).

    Args:
        clean: log-probabilities, shape (n, classes).
        other: as `clean`.
    """
    return (clean.exp() * (clean - other)).sum(1)
