"""How the learning rate goes on, from step to step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from harness.training.recipe import Schedule

_WARM_UP = 0.2  # share of the steps in which a one-cycle learning rate rises
_SHORTEST_CYCLE = 6  # of five steps, torch's schedule divides by the zero steps that the warm-up has left
_DROP = 0.1


def schedule(name: Schedule, optimizer: Optimizer, steps: int) -> LRScheduler:
    """Return a schedule whose largest learning rate is the optimizer's; it is stepped once a batch.

    Args:
        name: "one-cycle" rises over the first fifth and falls to nothing, momentum the other way round between 0.85 and
            0.95 (Smith and Topin 2017, arXiv 1708.07120); "cosine" falls to zero along half a cosine; "step" falls to a
            tenth after half of the steps and again after three quarters; "constant" stays.
        optimizer: with the largest learning rate.
        steps: of the whole training.
    """
    peak = optimizer.param_groups[0]["lr"]
    if name == "one-cycle":
        return OneCycleLR(optimizer, peak, total_steps=max(steps, _SHORTEST_CYCLE), pct_start=_WARM_UP)
    if name == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    if name == "step":
        return MultiStepLR(optimizer, [steps // 2, 3 * steps // 4], _DROP)
    return ConstantLR(optimizer, 1.0)
