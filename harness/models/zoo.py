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


def mobilenet_v2(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return MobileNetV2 (depthwise convolutions, inverted residuals) whose stem has stride 1, for small images."""
    import torchvision

    network: nn.Module = torchvision.models.mobilenet_v2(num_classes=classes)
    network.get_submodule("features.0").register_module("0", nn.Conv2d(input_shape[0], 32, 3, padding=1, bias=False))
    return network


class InceptionBlock(nn.Module):
    """Four branches (1x1, 3x3, two 3x3, average pooling with 1x1), each of `width` channels, concatenated."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.one = _convolution(channels, width, 1)
        self.three = _convolution(channels, width, 3)
        self.five = nn.Sequential(_convolution(channels, width, 3), _convolution(width, width, 3))
        self.pooled = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), _convolution(channels, width, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return (batch, 4 * width, height, width)."""
        return torch.cat([self.one(images), self.three(images), self.five(images), self.pooled(images)], dim=1)


def inception(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return a small Inception (concatenated branches, average pooling) for images of about 28x28."""
    return nn.Sequential(
        _convolution(input_shape[0], 32, 3),
        nn.AvgPool2d(2),
        InceptionBlock(32, 16),
        InceptionBlock(64, 32),
        nn.AvgPool2d(2),
        InceptionBlock(128, 32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, classes),
    )


def _convolution(channels: int, out: int, kernel: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


class Attention(nn.Module):
    """Multi-head self-attention over (batch, tokens, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        batch, count, width = tokens.shape
        split = self.query_key_value(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, count, width))
        return projected


class TransformerBlock(nn.Module):
    """Pre-norm attention and a two-layer perceptron, each with a residual sum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        tokens = tokens + self.attention(tokens)
        summed: Tensor = tokens + self.perceptron(tokens)
        return summed


class VisionTransformer(nn.Module):
    """Patches, learned positions, transformer blocks, mean over the tokens, a linear head (arXiv 2010.11929)."""

    def __init__(
        self, input_shape: tuple[int, int, int], classes: int, *, patch: int, width: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        channels, height, breadth = input_shape
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (height // patch) * (breadth // patch), width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


def vit_tiny(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return a small vision transformer: patches of 4x4, 64 wide, four blocks of four heads."""
    return VisionTransformer(input_shape, classes, patch=4, width=64, depth=4, heads=4)
