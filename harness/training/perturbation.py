"""The images that a method trains on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from harness.attacks.ball import Ball
from harness.training.methods import BY_NAME
from harness.training.recipe import Method, Recipe


@dataclass(frozen=True)
class Perturbation:
    """How a batch is perturbed.

    Attributes:
        method: whose search.
        epsilon: Linf radius, in pixel units.
        steps: gradient steps, of the methods that take several.
    """

    method: Method
    epsilon: float
    steps: int

    @classmethod
    def of(cls, recipe: Recipe) -> Perturbation:
        """Return what a recipe asks for."""
        return cls(recipe.method, recipe.epsilon, recipe.pgd_steps)

    @property
    def passes(self) -> int:
        """How often an image goes through the network with a backward pass, in one training step."""
        return BY_NAME[self.method].passes(self.steps)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return perturbed images, drawn from torch's global generator.

        Args:
            model: images to logits, on the images' device; left in evaluation mode where anything is searched.
            images: float32, shape (n, channels, height, width), in [0, 1].
            labels: int64, shape (n,).
        """
        search = BY_NAME[self.method].search
        if search is None:
            return images
        model.eval()
        return search(model, images, labels, Ball("linf", self.epsilon), self.steps)
