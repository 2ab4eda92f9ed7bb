"""Projected gradient descent on the cross-entropy (Madry et al. 2018, arXiv 1706.06083), Linf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from contracts.errors import InputError
from harness.attacks.ball import project, random_start
from harness.attacks.gradient import cross_entropy_gradient, cross_entropy_losses

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.attack import Target


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Steps along the gradient's sign, each projected to the ball.

    Attributes:
        steps: number of gradient steps.
        step_size: length of a step in pixel units; None is a tenth of epsilon, the paper's.
        random_start: start at a uniform point of the ball instead of the image itself.
        restarts: independent starts; only the first may begin at the image.
    """

    needs_gradient: ClassVar[bool] = True

    steps: int = 20
    step_size: float | None = None
    random_start: bool = False
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"attack.pgd: steps and restarts must be at least 1, got {self.steps} and {self.restarts}")
        if self.step_size is not None and not 0.0 < self.step_size < math.inf:
            raise InputError(f"attack.pgd: step_size must be finite and above 0, got {self.step_size}")

    def __call__(
        self, target: Target, images: Tensor, labels: Tensor, *, epsilon: float, image_ids: Tensor, seed: int
    ) -> Tensor:
        """Attack a batch; see `Attack`."""
        import torch

        best = images.clone()
        best_loss = torch.full((len(images),), -torch.inf, device=images.device)
        standing = torch.arange(len(images), device=images.device)
        for restart in range(self.restarts):
            start = images[standing]
            if self.random_start or restart > 0:
                start = random_start(start, epsilon, image_ids[standing.to(image_ids.device)], seed + restart)
            end, fooled = self._descend(target, start, images[standing], labels[standing], standing, epsilon)
            if self.restarts == 1:
                return end
            loss = cross_entropy_losses(target.model, end, labels[standing])
            better = fooled | (loss > best_loss[standing])
            best[standing[better]] = end[better]
            best_loss[standing[better]] = loss[better]
            standing = standing[~fooled]
            if len(standing) == 0:
                break
        return best

    def _descend(
        self, target: Target, start: Tensor, images: Tensor, labels: Tensor, rows: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        """Return the last iterates and which of them fooled the judge."""
        import torch

        step = epsilon / 10 if self.step_size is None else self.step_size
        current = start
        fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        left = torch.arange(len(images), device=images.device)
        for _ in range(self.steps):
            gradient = cross_entropy_gradient(target.model, current[left], labels[left])
            moved = project(current[left] + step * gradient.sign_(), images[left], epsilon)
            current = current.index_copy(0, left, moved)
            if target.judge is not None:
                won = target.judge(moved, rows[left])
                fooled[left[won]] = True
                left = left[~won]
                if len(left) == 0:
                    break
        return current, fooled
