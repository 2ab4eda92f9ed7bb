"""The fast gradient method (Goodfellow et al. 2015, arXiv 1412.6572), Linf and L2."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from harness.attacks.attack import Attack
from harness.attacks.losses import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.ball import Ball
    from harness.attacks.target import Target


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step of length epsilon along the gradient of the cross-entropy (Linf: its sign); no hyper-parameters.

    A lower bound on what other attacks must find: one that finds less than this is broken.
    """

    name: ClassVar[str] = "fgsm"

    def run(self, target: Target, images: Tensor, labels: Tensor, ball: Ball, image_ids: Tensor, seed: int) -> Tensor:
        """Attack a batch; see `Attack`."""
        del image_ids, seed  # nothing is drawn
        _, gradient = target.gradient(images, partial(cross_entropy, labels=labels))
        return ball.project(images + ball.epsilon * ball.direction(gradient), images)
