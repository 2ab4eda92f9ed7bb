"""The networks that ship with the harness. Inputs NCHW in [0, 1], outputs logits (batch, classes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


class Normalised(nn.Module):
    """A network behind the normalisation of its inputs, so that attacks and engines see pixels in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of images in [0, 1]; one channel is repeated where mean and std have three."""
        return self.network((images - self.mean) / self.std)  # type: ignore[no-any-return]


def convolutional(
    input_shape: tuple[int, int, int], classes: int, *, widths: Sequence[tuple[int, int]], hidden: int
) -> nn.Module:
    """Return 3x3 convolutions of the given (channels, stride), each with ReLU, then two linear layers."""
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for out, stride in widths:
        layers += [nn.Conv2d(channels, out, 3, stride, padding=1), nn.ReLU()]
        channels, height, width = out, -(-height // stride), -(-width // stride)
    layers += [nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)


def cnn8(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return the 8-layer CNN of arXiv 2403.09441: six convolutions, two linear layers; 550k parameters on 28x28x1."""
    widths = [(32, 1), (32, 2), (64, 1), (64, 2), (128, 1), (128, 2)]
    return convolutional(input_shape, classes, widths=widths, hidden=128)


def digits_cnn(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return a small CNN for images of about 8x8."""
    return convolutional(input_shape, classes, widths=[(32, 1), (32, 1), (64, 2), (64, 1)], hidden=64)


def resnet18(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return ResNet-18 with the stem for 32x32 images: one 3x3 convolution of stride 1 and no pooling."""
    import torchvision

    network: nn.Module = torchvision.models.resnet18(num_classes=classes)
    network.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network
