"""One run of Auto-PGD, from its start to its last step: momentum, the best point, and returns to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.attacks.ball import project
from harness.attacks.step_sizes import StepSizes, checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.attack import Target

Losses = Callable[["Tensor", "Tensor"], "Tensor"]
"""Logits (m, classes) and what each image aims at (m, 1 or more), its label first, to what is to grow (m,)."""

_MOMENTUM = 0.75


@dataclass(frozen=True)
class Summit:
    """Where a run took its images.

    Attributes:
        images: float32, shape (n, channels, height, width).
        losses: float, shape (n,): there.
        fooled: shape (n,): which of them fooled the judge or, where there is none, the model.
    """

    images: Tensor
    losses: Tensor
    fooled: Tensor


class Ascent:
    """Images on their way up, all at the same step; one that fooled a judge leaves."""

    def __init__(
        self, target: Target, losses: Losses, images: Tensor, aims: Tensor, rows: Tensor, start: Tensor, epsilon: float
    ) -> None:
        """Stand at the start.

        Args:
            target: the model to differentiate and, perhaps, a judge.
            losses: what is to grow.
            images: clean, float32, shape (n, channels, height, width), at least one.
            aims: int64, shape (n, 1 or more), an image's label in column 0.
            rows: int64, shape (n,): the images' rows in the attacked batch, which the judge knows them by.
            start: in the shape of the images, inside the ball and inside [0, 1].
            epsilon: radius of the ball, in pixel units.
        """
        import torch

        self._target, self._losses, self._epsilon = target, losses, epsilon
        self._images, self._aims, self._rows = images, aims, rows
        self._current = self._previous = self._best = start
        self._gradient = self._best_gradient = torch.zeros_like(start)
        self._places = torch.arange(len(images), device=images.device)
        nothing = torch.full((len(images),), -torch.inf, device=images.device)
        self._summit = Summit(start.clone(), nothing, torch.zeros_like(self._places, dtype=torch.bool))

    def run(self, steps: int, rho: float) -> Summit:
        """Climb; `steps` and `rho` as in `APGD`."""
        sizes = StepSizes(len(self._rows), 2 * self._epsilon, rho, device=self._images.device)
        halvings = checkpoints(steps)
        for step in range(steps + 1):
            if step > 0:
                self._move(sizes.sizes, _MOMENTUM if step > 1 else 1.0)
            if self._target.judge is not None:
                self._ask(self._target.judge(self._current, self._rows), sizes)
                if len(self._rows) == 0:
                    return self._summit
            losses = self._differentiate()
            better = sizes.observe(losses)
            self._best = _where(better, self._current, self._best)
            self._best_gradient = _where(better, self._gradient, self._best_gradient)
            if step in halvings:
                back = sizes.halve()
                self._current = _where(back, self._best, self._current)
                self._gradient = _where(back, self._best_gradient, self._gradient)
        unfooled = ~self._summit.fooled[self._places]
        self._reach(unfooled, self._best, sizes.best)
        return self._summit

    def _move(self, sizes: Tensor, weight: float) -> None:
        """Step along the gradient's sign, with what is left of the step before."""
        here = self._current
        stepped = project(here + sizes[:, None, None, None] * self._gradient.sign(), self._images, self._epsilon)
        moved = here + weight * (stepped - here) + (1 - weight) * (here - self._previous)
        self._previous, self._current = here, project(moved, self._images, self._epsilon)

    def _ask(self, won: Tensor, sizes: StepSizes) -> None:
        """Take the judge's answer: what fooled it stays where it is."""
        if not won.any():
            return
        self._reach(won, self._current, sizes.best)
        self._summit.fooled[self._places[won]] = True
        kept = ~won
        sizes.keep(kept)
        for name in ("_images", "_aims", "_rows", "_places", "_current", "_previous", "_best", "_best_gradient"):
            setattr(self, name, getattr(self, name)[kept])

    def _differentiate(self) -> Tensor:
        """Return the losses, shape (m,), and keep their gradient and, without a judge, what the model got wrong."""
        import torch

        with torch.enable_grad():
            variable = self._current.detach().requires_grad_()
            logits = self._target.model(variable).float()
            losses = self._losses(logits, self._aims)
            (self._gradient,) = torch.autograd.grad(losses.sum(), variable)
        losses = losses.detach()
        if self._target.judge is None:
            wrong = logits.argmax(1) != self._aims[:, 0]
            self._reach(wrong & ~(losses <= self._summit.losses), self._current, losses)
            self._summit.fooled[wrong] = True
        return losses

    def _reach(self, these: Tensor, images: Tensor, losses: Tensor) -> None:
        """Put these of the images still climbing, a mask (m,), at the summit."""
        places = self._places[these]
        self._summit.images[places] = images[these]
        self._summit.losses[places] = losses[these]


def _where(these: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return yes.where(these[:, None, None, None], no)
