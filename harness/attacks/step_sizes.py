"""How Auto-PGD shortens its steps: at checkpoints, for every image by itself, by what its losses did since the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def checkpoints(steps: int) -> tuple[int, ...]:
    """Return the steps, counted from 1, after which step sizes are looked at again.

    The first interval is 22 % of all steps, each one after it 3 % shorter, none shorter than 6 % or than one step.
    """
    interval, shorter, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    found = []
    place = interval
    while place <= steps:
        found.append(place)
        interval = max(interval - shorter, least)
        place += interval
    return tuple(found)


class StepSizes:
    """The step size of every image, and the losses that decide about it.

    Attributes:
        sizes: float, shape (n,), in pixel units.
        best: float, shape (n,): the largest loss of each image so far.
    """

    def __init__(self, count: int, size: float, rho: float, *, device: torch.device) -> None:
        """Begin with one size for all.

        Args:
            count: number of images, n.
            size: the first step size, in pixel units.
            rho: share of the steps between two checkpoints that must raise the loss.
            device: where the losses are.
        """
        import torch

        nothing = torch.full((count,), -torch.inf, device=device)
        self.sizes = torch.full((count,), size, device=device)
        self.best = self._last = self._best_at_checkpoint = nothing
        self._rho = rho
        self._halved = torch.ones(count, dtype=torch.bool, device=device)  # at the first checkpoint it may stand still
        # The start raises every loss from nothing, but is no step.
        self._rises = torch.full((count,), -1, device=device)
        self._interval = -1

    def observe(self, losses: Tensor) -> Tensor:
        """Take the losses (n,) at the start, then after each step; return which are their image's largest so far."""
        import torch

        better = losses > self.best
        self._rises = self._rises + (losses > self._last)
        self._last = losses
        self.best = torch.where(better, losses, self.best)
        self._interval += 1
        return better

    def halve(self) -> Tensor:
        """At a checkpoint, halve where progress is poor; return where, shape (n,).

        Poor are fewer than `rho` of the steps that raised the loss; or the best loss standing still since the last
        checkpoint, if the size was not halved there. Where a size was halved the caller goes on from the best point,
        and the next loss is compared with that point's.
        """
        import torch

        few = self._rises < self._rho * self._interval
        still = ~self._halved & (self.best <= self._best_at_checkpoint)
        self._halved = few | still
        self.sizes = torch.where(self._halved, self.sizes / 2, self.sizes)
        self._last = torch.where(self._halved, self.best, self._last)
        self._best_at_checkpoint = self.best
        self._rises = torch.zeros_like(self._rises)
        self._interval = 0
        return self._halved

    def keep(self, kept: Tensor) -> None:
        """Forget all images but those of a mask (n,)."""
        for name in ("sizes", "best", "_last", "_best_at_checkpoint", "_rises", "_halved"):
            setattr(self, name, getattr(self, name)[kept])
