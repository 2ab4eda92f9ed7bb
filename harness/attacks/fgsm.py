"""The fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572), Linf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.attacks.ball import project
from harness.attacks.gradient import cross_entropy_gradient

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.attack import Target


@dataclass(frozen=True, kw_only=True)
class FGSM:
    """One step of length epsilon along the sign of the cross-entropy's gradient; no hyper-parameters.

    A lower bound on what other attacks must find: one that finds less than this is broken.
    """

    needs_gradient: ClassVar[bool] = True

    def __call__(
        self, target: Target, images: Tensor, labels: Tensor, *, epsilon: float, image_ids: Tensor, seed: int
    ) -> Tensor:
        """Attack a batch; see `Attack`."""
        import torch

        del image_ids, seed  # nothing is drawn
        gradient = cross_entropy_gradient(target.model, images, labels)
        moved = project(images + epsilon * gradient.sign_(), images, epsilon)
        if target.judge is not None:  # the answer changes nothing here: a judge keeps count of what it was asked
            target.judge(moved, torch.arange(len(images), device=images.device))
        return moved
