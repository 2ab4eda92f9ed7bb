"""Projected gradient descent on the cross-entropy (Madry et al. 2018, arXiv 1706.06083), Linf and L2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from contracts.errors import InputError
from harness.attacks.attack import Attack
from harness.attacks.losses import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.ball import Ball
    from harness.attacks.target import Target


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Steps along the gradient (Linf: its sign), each projected to the ball; every point on the way counts.

    Attributes:
        steps: number of gradient steps.
        step_size: length of a step in pixel units; None is a tenth of epsilon, the paper's.
        random_start: start at a random point of the ball instead of the image itself.
        restarts: independent starts; only the first may begin at the image.
    """

    name: ClassVar[str] = "pgd"

    steps: int = 20
    step_size: float | None = None
    random_start: bool = False
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"attack.pgd: steps and restarts must be at least 1, got {self.steps} and {self.restarts}")
        if self.step_size is not None and not 0.0 < self.step_size < math.inf:
            raise InputError(f"attack.pgd: step_size must be finite and above 0, got {self.step_size}")

    def run(self, target: Target, images: Tensor, labels: Tensor, ball: Ball, image_ids: Tensor, seed: int) -> Tensor:
        """Attack a batch; see `Attack`."""
        import torch

        best = images.clone()
        best_loss = torch.full((len(images),), -torch.inf, device=images.device)
        standing = torch.arange(len(images), device=images.device)
        for restart in range(self.restarts):
            start = clean = images[standing]
            if self.random_start or restart > 0:
                start = ball.random_point(clean, image_ids[standing], seed, restart)
            end, loss, fooled = self._descend(target, start, clean, labels[standing], standing, ball)
            better = fooled | (loss > best_loss[standing])
            best[standing[better]] = end[better]
            best_loss[standing[better]] = loss[better]
            standing = standing[~fooled]
            if len(standing) == 0:
                break
        return best

    def _descend(
        self, target: Target, start: Tensor, images: Tensor, labels: Tensor, rows: Tensor, ball: Ball
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the last iterates, their losses, and which of them fooled the target."""
        import torch

        step = ball.epsilon / 10 if self.step_size is None else self.step_size
        ends, losses = start.clone(), torch.zeros(len(start), device=start.device)
        fooled = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        left, current = torch.arange(len(images), device=images.device), start
        for taken in range(self.steps + 1):
            loss = partial(cross_entropy, labels=labels[left])
            logits, gradient = target.gradient(current, loss) if taken < self.steps else (None, None)
            logits, won = target.look(current, labels[left], rows[left], logits, last=gradient is None)
            leaving = won if gradient is not None else torch.ones_like(won)
            if leaving.any():
                ends[left[leaving]] = current[leaving]
                losses[left[leaving]] = loss(logits)[leaving]
                fooled[left] = won
                kept = ~leaving
                left, current = left[kept], current[kept]
                gradient = gradient[kept] if gradient is not None else None
            if gradient is None or len(left) == 0:
                break
            current = ball.project(current + step * ball.direction(gradient), images[left])
        return ends, losses, fooled
