"""One pass over the training images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.progress import Advance
from harness.training.augmentation import augmented
from harness.training.learner import Learner
from harness.training.perturbation import Perturbation
from harness.training.recipe import Recipe

_GPU_LOOKS_EVERY = 20  # steps: to look at a loss makes a GPU wait


class NotFiniteError(Exception):
    """The loss, a gradient, or after the last batch a weight, became NaN or infinite.

    Attributes:
        what: "loss became nan", for the sentence.
        batch: the first where it is, from 1.
    """

    def __init__(self, what: str, batch: int) -> None:
        super().__init__(f"the {what} in batch {batch}")
        self.what = what
        self.batch = batch


def steps_of(images: int, recipe: Recipe) -> int:
    """Return how many batches an epoch of that many images has."""
    return math.ceil(images / recipe.batch_size)


def run_epoch(
    learner: Learner,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    *,
    recipe: Recipe,
    perturbation: Perturbation,
    advance: Advance,
) -> tuple[float, float]:
    """Learn from every image once, in an order and with draws from torch's global generator.

    Args:
        learner: on the device that batches are moved to.
        images: float32, shape (n, channels, height, width), on the CPU.
        labels: int64, shape (n,), there too.
        rows: int64, which of the images are learnt from.
        recipe: batch size and augmentation.
        perturbation: what the loss is taken on.
        advance: told of every batch.

    Returns:
        The mean loss, and the share of the perturbed images that were right when they were learnt from.

    Raises:
        NotFiniteError: the loss, the norm of the gradients or a weight is not finite.
    """
    device = learner.device
    batches = torch.tensor_split(rows[torch.randperm(len(rows))], steps_of(len(rows), recipe))
    losses, norms = torch.zeros(2, len(batches), dtype=torch.float64, device=device)
    right = torch.zeros((), dtype=torch.int64, device=device)
    every = 1 if device.type == "cpu" else _GPU_LOOKS_EVERY
    for number, chosen in enumerate(batches, start=1):
        batch = images[chosen].to(device, memory_format=torch.channels_last)
        batch = augmented(batch, flip=recipe.flip, crop=recipe.crop)
        step = learner.step(batch, labels[chosen].to(device), perturbation)
        losses[number - 1], norms[number - 1] = step.loss, step.gradient_norm
        right += step.right
        if number % every == 0 or number == len(batches):
            _check(losses, norms, range(max(0, number - every), number))
        advance(1)
    if not all(bool(parameter.isfinite().all()) for parameter in learner.model.parameters()):
        raise NotFiniteError("weights became NaN or infinite", len(batches))
    sizes = torch.tensor([len(chosen) for chosen in batches], dtype=torch.float64)
    return float(losses.cpu() @ sizes) / len(rows), int(right) / len(rows)


def _check(losses: Tensor, norms: Tensor, batches: range) -> None:
    """Raise NotFiniteError for the first of these batches whose loss or gradients are not finite."""
    looked = slice(batches.start, batches.stop)
    if (losses[looked] + norms[looked]).isfinite().all():
        return
    for batch in batches:
        for what, value in (("loss", losses[batch]), ("norm of the gradients", norms[batch])):
            if not value.isfinite():
                raise NotFiniteError(f"{what} became {value.item()}", batch + 1)
