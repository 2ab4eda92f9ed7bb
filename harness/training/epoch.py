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

_LOOKS_EVERY = {"cpu": 1}
_GPU_LOOKS_EVERY = 20  # steps: to look at a loss makes a GPU wait


class NotFiniteError(Exception):
    """The loss, or after the last batch a weight, became NaN or infinite.

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
    device: torch.device,
    advance: Advance,
) -> tuple[float, float]:
    """Learn from every image once, in an order and with draws from torch's global generator.

    Args:
        learner: on the device.
        images: float32, shape (n, channels, height, width), on the CPU.
        labels: int64, shape (n,), there too.
        rows: int64, which of the images are learnt from.
        recipe: batch size and augmentation.
        perturbation: what the loss is taken on.
        device: what batches are moved to.
        advance: told of every batch.

    Returns:
        The mean loss, and the share of the perturbed images that were right when they were learnt from.

    Raises:
        NotFiniteError: the loss or a weight is not finite.
    """
    batches = torch.tensor_split(rows[torch.randperm(len(rows))], steps_of(len(rows), recipe))
    losses = torch.zeros(len(batches), dtype=torch.float64, device=device)
    right = torch.zeros((), dtype=torch.int64, device=device)
    every = _LOOKS_EVERY.get(device.type, _GPU_LOOKS_EVERY)
    for number, chosen in enumerate(batches, start=1):
        batch = images[chosen].to(device, memory_format=torch.channels_last)
        batch = augmented(batch, flip=recipe.flip, crop=recipe.crop)
        loss, hits = learner.step(batch, labels[chosen].to(device), perturbation)
        losses[number - 1] = loss
        right += hits
        if number % every == 0 or number == len(batches):
            _check(losses[max(0, number - every) : number], max(0, number - every))
        advance(1)
    if not all(bool(parameter.isfinite().all()) for parameter in learner.model.parameters()):
        raise NotFiniteError("weights became NaN or infinite", len(batches))
    sizes = torch.tensor([len(chosen) for chosen in batches], dtype=torch.float64)
    return float(losses.cpu() @ sizes) / len(rows), int(right) / len(rows)


def _check(losses: Tensor, before: int) -> None:
    """Raise NotFiniteError for the first loss that is not finite; `before` batches came before these."""
    finite = losses.isfinite()
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise NotFiniteError(f"loss became {losses[first].item()}", before + first + 1)
