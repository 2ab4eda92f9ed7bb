"""The training methods: all that sets one apart from another stands in its row of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from harness.attacks.ball import Ball
from harness.training import losses, searches
from harness.training.recipe import Method, Recipe

Search = Callable[[nn.Module, Tensor, Tensor, Ball, int], Tensor]
"""(model, images, labels, ball, gradient steps) -> perturbed images."""

Loss = Callable[[nn.Module, Tensor, Tensor, Tensor, Recipe], tuple[Tensor, Tensor]]
"""(model in training mode, images, perturbed images, labels, recipe) -> loss, logits of the perturbed images."""


@dataclass(frozen=True)
class TrainingMethod:
    """How a method trains.

    Attributes:
        search: finds the perturbed images; None leaves images as they are.
        loss: that is lowered.
        passes: gradient steps of a search -> how often an image goes through the network with a backward pass, for
            search and loss.
        single_step: whether the search is one gradient step: what catastrophic overfitting befalls.
    """

    search: Search | None
    loss: Loss
    passes: Callable[[int], int]
    single_step: bool = False


BY_NAME: Mapping[Method, TrainingMethod] = {
    "standard": TrainingMethod(None, losses.on_perturbed, lambda _: 1),
    "n-fgsm": TrainingMethod(searches.n_fgsm, losses.on_perturbed, lambda _: 1 + 1, single_step=True),
    "fgsm-rs": TrainingMethod(searches.fgsm_rs, losses.on_perturbed, lambda _: 1 + 1, single_step=True),
    "pgd": TrainingMethod(searches.pgd, losses.on_perturbed, lambda steps: steps + 1),
    "trades": TrainingMethod(searches.most_divergent, losses.trades, lambda steps: steps + 2),
}
