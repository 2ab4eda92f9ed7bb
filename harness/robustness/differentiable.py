"""Clean and robust accuracy of a differentiable model by itself: what compression steps are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.attacks.attack import Attack, BlackBoxAttack
from harness.attacks.run import adversarial_images
from harness.data.dataset import Split
from harness.robustness.decisions import BATCH, decisions_of, model_scores

if TYPE_CHECKING:
    from torch import nn


def clean_and_robust(
    model: nn.Module, split: Split, attack: Attack | BlackBoxAttack, *, epsilon: float, seed: int
) -> tuple[float, float]:
    """Return a model's accuracy on images and on their adversarial versions, as fractions.

    The attack takes its gradients from this very model. An image that is wrong when clean counts as wrong under attack.

    Args:
        model: in evaluation mode; its parameters need no gradient.
        split: the images, at least one.
        attack: with its hyper-parameters.
        epsilon: radius, in pixel units.
        seed: of the attack's draws.
    """
    scores = model_scores(model)
    right = decisions_of(scores, split.images, lambda _: None) == split.labels
    attacked = right.nonzero()[0]
    robust = 0
    for start in range(0, len(attacked), BATCH):
        rows = attacked[start : start + BATCH]
        adversarial = adversarial_images(
            attack,
            model,
            None,
            split.images[rows],
            split.labels[rows],
            epsilon=epsilon,
            image_ids=rows,
            seed=seed,
        )
        robust += int((decisions_of(scores, adversarial, lambda _: None) == split.labels[rows]).sum())
    return float(right.mean()), robust / len(split)
