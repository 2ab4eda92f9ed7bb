"""The images that an adversarial method trains on; the search leaves the model's running statistics alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from harness.attacks.ball import Ball
from harness.attacks.differentiable import Differentiable
from harness.attacks.losses import cross_entropy
from harness.attacks.n_fgsm import NFGSM
from harness.attacks.pgd import PGD
from harness.attacks.target import Blind
from harness.training.recipe import Method, Recipe

_STRIDE = 2.5  # a search's steps together, in multiples of the radius (Madry et al. 2018)
_FGSM_RS_STEP = 1.25  # of epsilon
_TRADES_NOISE = 0.001  # the divergence has no slope at the clean image itself


@dataclass(frozen=True)
class Perturbation:
    """How a batch is perturbed.

    Attributes:
        method: standard (not at all); pgd from a random start; n-fgsm, see `NFGSM`; fgsm-rs, one step of 1.25 epsilon
            from a random start, projected (Wong et al. 2020, arXiv 2001.03994); trades, ascent of the divergence from
            the clean prediction (Zhang et al. 2019, arXiv 1901.08573).
        epsilon: Linf radius, in pixel units.
        steps: of pgd and trades.
    """

    method: Method
    epsilon: float
    steps: int

    @classmethod
    def of(cls, recipe: Recipe) -> Perturbation:
        """Return what a recipe asks for."""
        return cls(recipe.method, recipe.epsilon, recipe.pgd_steps)

    @property
    def gradients(self) -> int:
        """Gradients that the search takes of every image."""
        return {"standard": 0, "n-fgsm": 1, "fgsm-rs": 1}.get(self.method, self.steps)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return perturbed images, drawn from torch's global generator; the model is left in evaluation mode.

        Args:
            model: images to logits, on the images' device.
            images: float32, shape (n, channels, height, width), in [0, 1].
            labels: int64, shape (n,).
        """
        if self.method == "standard":
            return images
        model.eval()
        if self.method == "n-fgsm":
            return NFGSM()(model, images, labels, epsilon=self.epsilon)
        ball = Ball("linf", self.epsilon)
        if self.method == "fgsm-rs":
            return _fgsm_rs(model, images, labels, ball)
        if self.method == "trades":
            return _most_divergent(model, images, ball, self.steps)
        attack = PGD(steps=self.steps, step_size=_STRIDE * self.epsilon / self.steps, random_start=True)
        draw = int(torch.randint(2**31, ()).item())
        return attack.run(Blind(Differentiable(model)), images, labels, ball, torch.arange(len(images)), draw)


def _fgsm_rs(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball) -> Tensor:
    start = ball.project(images + torch.empty_like(images).uniform_(-ball.epsilon, ball.epsilon), images)
    _, gradient = Differentiable(model).gradient(start, partial(cross_entropy, labels=labels))
    return ball.project(start + _FGSM_RS_STEP * ball.epsilon * ball.direction(gradient), images)


def _most_divergent(model: nn.Module, images: Tensor, ball: Ball, steps: int) -> Tensor:
    """Climb the divergence from the clean prediction, from beside the clean image."""
    current = ball.project(images + _TRADES_NOISE * torch.randn_like(images), images)
    # In float32: bfloat16 cannot tell a pixel from one so near, and the first step would go anywhere.
    with torch.autocast(images.device.type, enabled=False):
        clean = log_softmax(Differentiable(model).logits(images), 1)
        current = _climbed(model, current, images, clean, ball, steps)
    for _ in range(steps - 1):
        current = _climbed(model, current, images, clean, ball, steps)
    return current


def _climbed(model: nn.Module, current: Tensor, images: Tensor, clean: Tensor, ball: Ball, steps: int) -> Tensor:
    _, gradient = Differentiable(model).gradient(current, lambda logits: divergence(clean, log_softmax(logits, 1)))
    return ball.project(current + _STRIDE * ball.epsilon / steps * ball.direction(gradient), images)


def divergence(clean: Tensor, other: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence KL(clean || other) of every image, shape (n,).

    Args:
        clean: log-probabilities, shape (n, classes).
        other: as `clean`.
    """
    return (clean.exp() * (clean - other)).sum(1)
