"""How each adversarial method looks for the images that it trains on, with draws from torch's global generator.

The model is in evaluation mode, so that no running statistics move; its gradients are left alone.
"""

from __future__ import annotations

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
from harness.training.losses import divergence

_STRIDE = 2.5  # a search's steps together, in multiples of the radius (Madry et al. 2018)
_FGSM_RS_STEP = 1.25  # of epsilon
_TRADES_NOISE = 0.001  # the divergence has no slope at the clean image itself


def step_size(epsilon: float, steps: int) -> float:
    """Return the length of each of PGD's steps, in pixel units: together they reach 2.5 times as far as the radius."""
    return _STRIDE * epsilon / steps


def n_fgsm(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball, steps: int) -> Tensor:
    """Return images after strong noise and one step, outside the ball; see `NFGSM`."""
    del steps
    return NFGSM()(model, images, labels, epsilon=ball.epsilon)


def fgsm_rs(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball, steps: int) -> Tensor:
    """Return images after one step of 1.25 epsilon from a random start, projected (Wong et al. 2020, 2001.03994)."""
    del steps
    start = ball.project(images + torch.empty_like(images).uniform_(-ball.epsilon, ball.epsilon), images)
    _, gradient = Differentiable(model).gradient(start, partial(cross_entropy, labels=labels))
    return ball.project(start + _FGSM_RS_STEP * ball.epsilon * ball.direction(gradient), images)


def pgd(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball, steps: int) -> Tensor:
    """Return images after steps along the gradient of the cross-entropy, from a random start."""
    attack = PGD(steps=steps, step_size=step_size(ball.epsilon, steps), random_start=True)
    draw = int(torch.randint(2**31, ()).item())
    return attack.run(Blind(Differentiable(model)), images, labels, ball, torch.arange(len(images)), draw)


def most_divergent(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball, steps: int) -> Tensor:
    """Climb the divergence from the clean prediction, from beside the clean image (Zhang et al. 2019, 1901.08573)."""
    del labels
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
    return ball.project(current + step_size(ball.epsilon, steps) * ball.direction(gradient), images)
