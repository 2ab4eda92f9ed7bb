"""What a training step lowers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from harness.training.perturbation import Perturbation, divergence
from harness.training.recipe import Recipe


def objective(
    model: nn.Module, images: Tensor, labels: Tensor, perturbation: Perturbation, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Return the loss, a scalar with its graph, and the logits (n, classes) of the perturbed images.

    Cross-entropy on the perturbed images; under `trades` (Zhang et al. 2019, arXiv 1901.08573) cross-entropy on the
    clean ones and `trades_beta` times the divergence between clean and perturbed. The model is left in training mode.
    """
    perturbed = perturbation(model, images, labels)
    model.train()
    if perturbation.method != "trades":
        logits = model(perturbed).float()
        return cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing), logits
    clean, logits = model(images).float(), model(perturbed).float()
    apart = divergence(log_softmax(clean, 1), log_softmax(logits, 1)).mean()
    loss = cross_entropy(clean, labels, label_smoothing=recipe.label_smoothing) + recipe.trades_beta * apart
    return loss, logits


def passes(perturbation: Perturbation) -> int:
    """Return how often an image goes through the network with a backward pass, in one step."""
    return perturbation.gradients + (2 if perturbation.method == "trades" else 1)
