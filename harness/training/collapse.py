"""Catastrophic overfitting of single-step training: how it is seen, and what is done about it.

Within a few hundred steps a network trained on one-step perturbations may learn to mislead that one step: it is right
on almost all of its own training perturbations, and PGD fools it on almost every image (Wong et al. 2020, arXiv
2001.03994, who stop there; Andriushchenko and Flammarion 2020, arXiv 2007.02617). Li et al. 2020, arXiv 2006.03089,
watch the robust accuracy of validation images instead and let training on PGD's images bring the network back. Here
the epoch is undone rather than mended, and what is left of the training stays with a short PGD instead of going back
to the single step after a few batches: the method that collapsed once would do so again.
"""

from __future__ import annotations

import math

from harness.training.methods import BY_NAME
from harness.training.perturbation import Perturbation
from harness.training.recipe import Recipe
from harness.training.trained import Epoch

FALLBACK_STEPS = 3
"""Steps of the PGD that goes on: two may be too few at large radii."""

_FAR_ABOVE = 0.2  # what Wong et al. let the robust accuracy drop by
_STANDARD_ERRORS = 2.0


def perturbation(recipe: Recipe, collapsed: bool) -> Perturbation:
    """Return what is trained on: what the recipe asks for, or the short PGD after a collapse."""
    if collapsed:
        return Perturbation("pgd", recipe.epsilon, FALLBACK_STEPS)
    return Perturbation.of(recipe)


def can_collapse(recipe: Recipe) -> bool:
    """Return whether the method is one of a single step."""
    return BY_NAME[recipe.method].single_step


def has_collapsed(robust: float, best: float, single_step: float, samples: int) -> bool:
    """Return whether an epoch ended in catastrophic overfitting.

    Three things must hold together. The robust accuracy is less than half of the best so far: training is noisy, but a
    collapse goes to nearly nothing. That loss is more than chance makes of this many images. And the accuracy on the
    training's own perturbations is at least 20 points higher than PGD's: where both are low, the learning rate or the
    radius is too large, and another perturbation would not help.

    Args:
        robust: accuracy on the validation images under PGD after the epoch.
        best: the highest of the epochs before, or what guessing gives where that is more: a network may collapse before
            it was ever robust, and one that is right less often than a constant answer has not just begun to learn.
        single_step: accuracy on the perturbed training images during the epoch.
        samples: number of validation images.
    """
    error = math.sqrt((best * (1 - best) + robust * (1 - robust)) / samples)
    lost = robust < best / 2 and best - robust > _STANDARD_ERRORS * error
    return lost and single_step - robust >= _FAR_ABOVE


def unguarded(title: str, recipe: Recipe) -> str:
    """Return the warning that nobody would see a collapse."""
    return (
        f"{title}: no validation images are kept aside, without which a collapse of {recipe.method} (catastrophic "
        "overfitting) would not be seen: set validation_samples, a tenth of the training images at most"
    )


def sentence(title: str, recipe: Recipe, epoch: Epoch, best: float) -> str:
    """Return the warning: in which epoch, from which to which accuracy, and what was done.

    Args:
        title: of the work.
        recipe: of the method that collapsed.
        epoch: in which it did.
        best: as for `has_collapsed`.
    """
    return (
        f"{title}: {recipe.method} collapsed in epoch {epoch.number}, from a robust accuracy of {best:.1%} (the best "
        f"before, or that of guessing) to {epoch.robust:.1%} under PGD while {epoch.single_step:.1%} of its own "
        "perturbed images were right (catastrophic overfitting); the epoch was undone, and trained again, as all after "
        f"it, with PGD of {FALLBACK_STEPS} steps"
    )
