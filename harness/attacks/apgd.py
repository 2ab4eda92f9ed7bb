"""Auto-PGD (Croce and Hein 2020, arXiv 2003.01690), Linf and L2: gradient ascent that finds its own step sizes.

Where the authors' code and their paper differ, this follows the paper: a step is halved where *fewer* than `rho` of the
steps raised the loss; the first step is compared with the start; the step after a return to the best point with that
point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from contracts.errors import InputError
from harness.attacks.ascent import Ascent
from harness.attacks.attack import Attack
from harness.attacks.losses import cross_entropy, dlr, targeted_dlr

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.ball import Ball
    from harness.attacks.target import Target


@dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Auto-PGD on the cross-entropy.

    Every point that it comes by counts, the start included: an image that fooled the target is attacked no further and
    returned as it was then. Any other is returned at its largest loss.

    Attributes:
        steps: gradient steps a start; each costs one gradient, and the last point a look.
        restarts: independent starts, all random; only images that nothing has fooled yet start again.
        rho: share of the steps between two checkpoints that must raise the loss, or the step is halved.
    """

    name: ClassVar[str] = "apgd-ce"

    steps: int = 100
    restarts: int = 1
    rho: float = 0.75

    def __post_init__(self) -> None:
        section = f"attack.{self.name}"
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"{section}: steps and restarts must be at least 1, got {self.steps} and {self.restarts}")
        if not 0.0 <= self.rho <= 1.0:
            raise InputError(f"{section}: rho must be between 0 and 1, got {self.rho}")

    def losses(self, logits: Tensor, aims: Tensor) -> Tensor:
        """Return what is to grow, shape (m,), of logits (m, classes) and rows (m, …) of an element of `aims`."""
        return cross_entropy(logits, aims[:, 0])

    def aims(self, target: Target, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Return what each group of restarts aims at: int64, shape (n, 1 or more), an image's label in column 0."""
        del target, images
        return [labels[:, None]]

    def run(self, target: Target, images: Tensor, labels: Tensor, ball: Ball, image_ids: Tensor, seed: int) -> Tensor:
        """Attack a batch; see `Attack`."""
        import torch

        found = images.clone()
        found_loss = torch.full((len(images),), -math.inf, device=images.device)
        standing = torch.arange(len(images), device=images.device)
        runs = [aims for aims in self.aims(target, images, labels) for _ in range(self.restarts)]
        for run, aims in enumerate(runs):
            if len(standing) == 0:
                break
            clean = images[standing]
            start = ball.random_surface_point(clean, image_ids[standing], seed, run)
            ascent = Ascent(target, self.losses, clean, aims[standing], standing, start, ball)
            summit = ascent.run(self.steps, self.rho)
            better = summit.fooled | (summit.losses > found_loss[standing])
            found[standing[better]] = summit.images[better]
            found_loss[standing[better]] = summit.losses[better]
            standing = standing[~summit.fooled]
        return found


@dataclass(frozen=True, kw_only=True)
class APGDDLR(APGD):
    """Auto-PGD on the difference of logits ratio; with two classes, on the margin."""

    name: ClassVar[str] = "apgd-dlr"
    needed_classes: ClassVar[int] = 3
    scale_free: ClassVar[bool] = True

    def losses(self, logits: Tensor, aims: Tensor) -> Tensor:
        """Return the difference of logits ratio; see `APGD.losses`."""
        return dlr(logits, aims[:, 0])


@dataclass(frozen=True, kw_only=True)
class APGDT(APGD):
    """Auto-PGD on the targeted difference of logits ratio, one target after another; below four classes, on the margin.

    Attributes:
        targets: wrong classes an image is driven to, those of its largest clean logits first: for an image that the
            model gets right, the ranks 2, 3, …; all wrong classes where there are fewer.
    """

    name: ClassVar[str] = "apgd-t"
    needed_classes: ClassVar[int] = 4
    scale_free: ClassVar[bool] = True

    targets: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets < 1:
            raise InputError(f"attack.{self.name}: targets must be at least 1, got {self.targets}")

    def losses(self, logits: Tensor, aims: Tensor) -> Tensor:
        """Return the targeted difference of logits ratio; see `APGD.losses`."""
        return targeted_dlr(logits, aims[:, 0], aims[:, 1])

    def aims(self, target: Target, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Return label and target of every image, target after target; see `APGD.aims`."""
        import torch

        logits = target.model.logits(images)
        wrong = logits.scatter(1, labels[:, None], -math.inf)
        targets = wrong.topk(min(self.targets, logits.shape[1] - 1), dim=1).indices
        return [torch.stack([labels, targets[:, rank]], dim=1) for rank in range(targets.shape[1])]
