"""N-FGSM (de Jorge et al. 2022, arXiv 2202.01181): the single step that adversarial training needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.attacks.differentiable import Differentiable
from harness.attacks.losses import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.differentiable import Model


@dataclass(frozen=True, kw_only=True)
class NFGSM:
    """Strong noise, then one step; clipped neither to the ball nor to [0, 1].

    Without that clipping training does not fall into catastrophic overfitting at the radii in use. It is a way to make
    training images, no attack to judge a model by.

    Attributes:
        noise: half-width of the uniform noise, in multiples of epsilon.
        step: length of the step, in multiples of epsilon.
    """

    noise: float = 2.0
    step: float = 1.0

    def __call__(self, model: Model, images: Tensor, labels: Tensor, *, epsilon: float) -> Tensor:
        """Return perturbed images, drawn from torch's global generator."""
        import torch

        noisy = images + torch.empty_like(images).uniform_(-self.noise * epsilon, self.noise * epsilon)
        _, gradient = Differentiable(model).gradient(noisy, partial(cross_entropy, labels=labels))
        return noisy.add_(gradient.sign_(), alpha=self.step * epsilon)
