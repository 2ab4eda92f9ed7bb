"""Images of the training split that are never trained on, and how a model does on them, clean and under attack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.attacks.differentiable import Differentiable, Loss
from harness.attacks.pgd import PGD
from harness.attacks.target import is_wrong
from harness.data.dataset import Split
from harness.data.stratified import stratified_split
from harness.progress import Advance
from harness.training.mixed_precision import half
from harness.training.recipe import Recipe
from harness.training.searches import step_size

STEPS = 10
"""Gradient steps of the PGD that judges an epoch."""

_LARGEST_SHARE = 10  # a tenth of the split
_CPU_BATCH, _GPU_BATCH = 125, 1000  # on a small CPU larger batches are slower


@dataclass(frozen=True)
class Verdict:
    """How a model does on n validation images.

    Attributes:
        clean: share of them that it decides rightly; None without any.
        robust: share that it decides rightly under PGD too; None for standard training, and without any.
        gradients: images whose gradient PGD took, each as often as it was taken.
    """

    clean: float | None
    robust: float | None
    gradients: int


@dataclass(frozen=True)
class Validation:
    """Which images judge.

    Attributes:
        ids: int64, sorted, their places in the split.
        rest: int64, sorted, the places of all others: those that are trained on.
    """

    ids: npt.NDArray[np.int64]
    rest: npt.NDArray[np.int64]

    @classmethod
    def draw(cls, labels: npt.NDArray[np.int64], samples: int, seed: int) -> Validation:
        """Draw images at random, every class in proportion.

        Args:
            labels: int64, shape (n,), of the split.
            samples: how many, if they are no more than a tenth of the split, and leave an image of every class; as many
                as are otherwise.
            seed: 0 to 2**32 - 1; equal seeds draw equal images.
        """
        classes = len(np.unique(labels))
        count = min(samples, len(labels) // _LARGEST_SHARE, len(labels) - classes)
        if count < 1:
            return cls(np.empty(0, np.int64), np.arange(len(labels)))
        rest, ids = stratified_split(labels, count, seed)
        return cls(ids, rest)

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, device: torch.device) -> list[npt.NDArray[np.int64]]:
        """Return the ids as they are judged together."""
        size = _CPU_BATCH if device.type == "cpu" else _GPU_BATCH
        return [self.ids[start : start + size] for start in range(0, len(self), size)]

    def judge(
        self, model: nn.Module, split: Split, recipe: Recipe, seed: int, device: torch.device, advance: Advance
    ) -> Verdict:
        """Return how a model does. PGD, from the same random starts at every call, attacks what is right when clean.

        Args:
            model: in evaluation mode.
            split: what the ids are places in.
            recipe: its epsilon, and its precision, which gradients are computed in; decisions are taken in float32.
            seed: of the random starts.
            device: where the model is.
            advance: told of every batch.
        """
        if len(self) == 0:
            return Verdict(None, None, 0)
        target = _Counted(model, half(device, recipe.precision), device)
        pgd = PGD(steps=STEPS, step_size=step_size(recipe.epsilon, STEPS), random_start=True)
        clean = robust = 0
        for ids in self.batches(device):
            images = torch.from_numpy(split.images[ids]).to(device, memory_format=torch.channels_last)
            labels = torch.from_numpy(split.labels[ids]).to(device)
            right = ~is_wrong(target.logits(images), labels)
            clean += int(right.sum())
            if recipe.adversarial and right.any():
                images, labels, rows = images[right], labels[right], torch.from_numpy(ids)[right.cpu()]
                found = pgd(target, images, labels, epsilon=recipe.epsilon, image_ids=rows, seed=seed)
                robust += int((~is_wrong(target.logits(found), labels)).sum())
            advance(1)
        return Verdict(clean / len(self), robust / len(self) if recipe.adversarial else None, target.images)


class _Counted(Differentiable):
    """Counts the images whose gradients it took."""

    images = 0

    def gradient(self, images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return logits and gradients; see `Differentiable.gradient`."""
        self.images += len(images)
        return super().gradient(images, loss)
