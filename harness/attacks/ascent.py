"""One run of Auto-PGD, from its start to its last step: momentum, the best point, and returns to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.attacks.step_sizes import StepSizes, checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.ball import Ball
    from harness.attacks.target import Target

Losses = Callable[["Tensor", "Tensor"], "Tensor"]
"""Logits (m, classes) and what each image aims at (m, 1 or more), its label first, to what is to grow (m,)."""

_MOMENTUM = 0.75

_OF_EACH_IMAGE = (
    "_images",
    "_aims",
    "_rows",
    "_places",
    "_current",
    "_gradient",
    "_previous",
    "_best",
    "_best_gradient",
)


@dataclass(frozen=True)
class Summit:
    """Where a run took its images.

    Attributes:
        images: float32, shape (n, channels, height, width).
        losses: float, shape (n,): there.
        fooled: shape (n,): which of them fooled the target.
    """

    images: Tensor
    losses: Tensor
    fooled: Tensor


class Ascent:
    """Images on their way up, all at the same step; one that fooled the target leaves."""

    def __init__(
        self, target: Target, losses: Losses, images: Tensor, aims: Tensor, rows: Tensor, start: Tensor, ball: Ball
    ) -> None:
        """Stand at the start.

        Args:
            target: gives gradients, and says what losses are of and who is fooled.
            losses: what is to grow.
            images: clean, float32, shape (n, channels, height, width), at least one.
            aims: int64, shape (n, 1 or more), an image's label in column 0.
            rows: int64, shape (n,): the images' rows in the attacked batch, which the target knows them by.
            start: in the shape of the images, inside the ball and inside [0, 1].
            ball: around the images.
        """
        import torch

        self._target, self._losses, self._ball = target, losses, ball
        self._images, self._aims, self._rows = images, aims, rows
        self._current = self._previous = self._best = start
        self._gradient = self._best_gradient = torch.zeros_like(start)
        self._places = torch.arange(len(images), device=images.device)
        nothing = torch.full((len(images),), -torch.inf, device=images.device)
        self._summit = Summit(start.clone(), nothing, torch.zeros_like(self._places, dtype=torch.bool))

    def run(self, steps: int, rho: float) -> Summit:
        """Climb; `steps` and `rho` as in `APGD`."""
        sizes = StepSizes(len(self._rows), 2 * self._ball.epsilon, rho, device=self._images.device)
        halvings = checkpoints(steps)
        for step in range(steps + 1):
            if step > 0:
                self._move(sizes.sizes, _MOMENTUM if step > 1 else 1.0)
            losses, won = self._observe(last=step == steps)
            if won.any():
                losses = self._leave(won, losses, sizes)
                if len(self._rows) == 0:
                    return self._summit
            better = sizes.observe(losses)
            self._best = _where(better, self._current, self._best)
            self._best_gradient = _where(better, self._gradient, self._best_gradient)
            if step in halvings:
                back = sizes.halve()
                self._current = _where(back, self._best, self._current)
                self._gradient = _where(back, self._best_gradient, self._gradient)
        self._reach(slice(None), self._best, sizes.best)
        return self._summit

    def _move(self, sizes: Tensor, weight: float) -> None:
        """Step along the gradient, with what is left of the step before."""
        here = self._current
        stepped = self._ball.project(
            here + sizes[:, None, None, None] * self._ball.direction(self._gradient), self._images
        )
        moved = here + weight * (stepped - here) + (1 - weight) * (here - self._previous)
        self._previous, self._current = here, self._ball.project(moved, self._images)

    def _observe(self, *, last: bool) -> tuple[Tensor, Tensor]:
        """Return the losses here and which images fooled the target, shape (m,), and keep the gradient.

        At the last point none is needed.
        """
        logits = None
        if not last:
            logits, self._gradient = self._target.gradient(self._current, lambda found: self._losses(found, self._aims))
        aims, rows = self._aims[:, 0], self._rows
        logits, won = self._target.look(self._current, aims, rows, logits, last=last)
        return self._losses(logits, self._aims), won

    def _leave(self, won: Tensor, losses: Tensor, sizes: StepSizes) -> Tensor:
        """Leave those who fooled the target where they are; return the losses of the others."""
        self._reach(won, self._current, losses)
        self._summit.fooled[self._places[won]] = True
        kept = ~won
        sizes.keep(kept)
        for name in _OF_EACH_IMAGE:
            setattr(self, name, getattr(self, name)[kept])
        return losses[kept]

    def _reach(self, these: Tensor | slice, images: Tensor, losses: Tensor) -> None:
        """Put these of the images still climbing, a mask (m,) or all, at the summit."""
        places = self._places[these]
        self._summit.images[places] = images[these]
        self._summit.losses[places] = losses[these]


def _where(these: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return yes.where(these[:, None, None, None], no)
