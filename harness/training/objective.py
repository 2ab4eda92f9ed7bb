"""What a training step lowers."""

from __future__ import annotations

from torch import Tensor, nn

from harness.training.methods import BY_NAME
from harness.training.perturbation import Perturbation
from harness.training.recipe import Recipe


def objective(
    model: nn.Module, images: Tensor, labels: Tensor, perturbation: Perturbation, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Return the loss, a scalar with its graph, and the logits (n, classes) of the perturbed images.

    The loss is that of the perturbation's method. The model is left in training mode.
    """
    perturbed = perturbation(model, images, labels)
    model.train()
    return BY_NAME[perturbation.method].loss(model, images, perturbed, labels, recipe)
