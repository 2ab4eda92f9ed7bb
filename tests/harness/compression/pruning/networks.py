"""Networks with what structured pruning stumbles over; (batch, 1, 8, 8) to 3."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImageJoined(nn.Module):
    """Features are concatenated to the image itself, in front of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(9, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        joined = torch.cat([images, torch.relu(self.first(images))], 1)
        logits: Tensor = self.head(torch.relu(self.second(joined)).mean((2, 3)))
        return logits


class Grouped(nn.Module):
    """A group convolution of two groups between two plain ones, and a group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 16, 3, padding=1, groups=2)
        self.norm = nn.GroupNorm(4, 16)
        self.last = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        features = torch.relu(self.norm(self.grouped(torch.relu(self.first(images)))))
        logits: Tensor = self.head(torch.relu(self.last(features)).mean((2, 3)))
        return logits


class Swapped(nn.Module):
    """Swaps two halves of its channels: an operation that Torch-Pruning takes for one that moves nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        """Return the features, of exactly the channels that it was made for."""
        count = len(features)
        halves = features.reshape(count, 2, self.channels // 2, *features.shape[2:])
        return halves.flip(1).reshape(count, self.channels, *features.shape[2:])


def swapping() -> nn.Sequential:
    """Return a network with fixed sizes in the module named 2."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        Swapped(8),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


class ThroughNumpy(nn.Module):
    """Leaves torch, which works without gradients alone."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the features."""
        return torch.from_numpy(features.numpy())


def layers(model: nn.Module) -> dict[str, int]:
    """Return the number of outputs of every convolution and linear layer."""
    kinds = (nn.Conv2d, nn.Linear)
    return {name: len(module.weight) for name, module in model.named_modules() if isinstance(module, kinds)}


def blind(model: nn.Module, history: list[tuple[str, bool, list[int]]]) -> None:
    """Let no layer see the channels that a history cuts: without them, the unpruned network is the pruned one."""
    with torch.no_grad():
        for name, out, channels in history:
            layer = model.get_submodule(name)
            if not out and isinstance(layer, (nn.Conv2d, nn.Linear)):
                size = layer.weight.shape[1]  # of a group
                layer.weight[:, sorted({each % size for each in channels})] = 0
