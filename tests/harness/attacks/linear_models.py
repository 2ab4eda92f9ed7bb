"""Models on which an attack's outcome is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear(shape: tuple[int, ...], classes: int = 3, seed: int = 0) -> nn.Module:
    """Return logits = W x, without a bias."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes, bias=False))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.get_parameter("1.weight").normal_(generator=generator)
    return model


def pixels(n: int, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    """Return n images in [0, 1], some of whose pixels are at its ends."""
    images = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))
    return (images * 1.4 - 0.2).clamp(0, 1)


def labels_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return the model's own decisions."""
    with torch.no_grad():
        decisions: Tensor = model(images).argmax(1)
    return decisions
