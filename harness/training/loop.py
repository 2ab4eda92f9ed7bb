"""The training loop: one for standard and adversarial training, for models and their fake-quantized twins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from contracts.errors import InputError
from harness.attacks.ball import Ball
from harness.attacks.differentiable import Differentiable
from harness.attacks.n_fgsm import NFGSM
from harness.attacks.pgd import PGD
from harness.attacks.target import Blind
from harness.data.dataset import Split
from harness.training.mixed_precision import autocast

if TYPE_CHECKING:
    from harness.progress import Progress
    from harness.training.recipe import Recipe

_WARM_UP = 0.2  # share of the steps in which the learning rate rises
_SHORTEST_SCHEDULE = 6  # of five steps, torch's schedule divides by the zero steps that the warm-up has left
_LARGEST_GRADIENT = 1.0


def train(model: nn.Module, split: Split, recipe: Recipe, *, seed: int, progress: Progress, title: str) -> float:
    """Train a model in place, on a GPU where there is one; it ends on the CPU, in evaluation mode.

    Args:
        model: images (batch, channels, height, width) in [0, 1] to logits.
        split: the training split, or part of it.
        recipe: hyper-parameters.
        seed: of the order of images and of every random draw: the same seed gives the same weights on a CPU.
        progress: shows the time left.
        title: names the work on the bar.

    Returns:
        Mean loss over the last epoch.

    Raises:
        InputError: the loss became NaN or infinite.
    """
    torch.manual_seed(seed)
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    steps = math.ceil(len(labels) / recipe.batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    planned = max(recipe.epochs * steps, _SHORTEST_SCHEDULE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=planned, pct_start=_WARM_UP
    )
    total = 0.0
    with progress.bar(title, recipe.epochs * steps) as advance:
        for epoch in range(recipe.epochs):
            total = 0.0
            for number, rows in enumerate(torch.tensor_split(torch.randperm(len(labels)), steps)):
                batch = images[rows].to(device, memory_format=torch.channels_last)
                loss = _step(model, optimizer, batch, labels[rows].to(device), recipe)
                if not math.isfinite(loss):
                    raise InputError(
                        f"{title}: the loss became {loss} in epoch {epoch + 1}, batch {number + 1}: "
                        f"lower learning_rate (now {recipe.learning_rate})"
                    )
                schedule.step()
                total += loss * len(rows)
                advance(1)
    model.to("cpu").to(memory_format=torch.contiguous_format).eval()
    return total / len(labels)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, recipe: Recipe) -> float:
    if recipe.flip:
        mirrored = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    with autocast(images.device):
        images = _perturbed(model, images, labels, recipe)
        model.train()
        loss = cross_entropy(model(images).float(), labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    return loss.item()


def _perturbed(model: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Return the images that the loss is taken on; the model's running statistics are not touched by the search."""
    if recipe.method == "standard":
        return images
    model.eval()
    if recipe.method == "n-fgsm":
        return NFGSM()(model, images, labels, epsilon=recipe.epsilon)
    attack = PGD(steps=recipe.pgd_steps, step_size=2.5 * recipe.epsilon / recipe.pgd_steps, random_start=True)
    ids = torch.arange(len(images))
    draw = int(torch.randint(2**31, ()).item())
    return attack.run(Blind(Differentiable(model)), images, labels, Ball("linf", recipe.epsilon), ids, draw)
