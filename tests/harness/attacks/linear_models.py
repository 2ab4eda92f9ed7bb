"""Models on which an attack's outcome is known in closed form, and images for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

SHAPE = (2, 3, 4)


def linear(shape: tuple[int, ...], classes: int = 3, seed: int = 0) -> nn.Module:
    """Return logits = W x, without a bias."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes, bias=False))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.get_parameter("1.weight").normal_(generator=generator)
    return model


def away_from(labels: Tensor, model: nn.Module, classes: Tensor, images: Tensor) -> Tensor:
    """Return the gradient of z_class - z_label of a linear model, in the shape of the images."""
    weight = model.get_parameter("1.weight").detach()
    return (weight[classes] - weight[labels]).reshape(images.shape)


def unit(change: Tensor) -> Tensor:
    """Return each image's change over its L2 length."""
    lengths: Tensor = change.flatten(1).norm(dim=1)
    return change / lengths[:, None, None, None]


def pixels(n: int, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    """Return n images in [0, 1], some of whose pixels are at its ends."""
    images = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))
    return (images * 1.4 - 0.2).clamp(0, 1)


def greys(n: int, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    """Return n images in [0.2, 0.8], around which small balls are not clipped."""
    return 0.2 + 0.6 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def labels_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return the model's own decisions."""
    with torch.no_grad():
        decisions: Tensor = model(images).argmax(1)
    return decisions


def losses(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return each image's cross-entropy."""
    with torch.no_grad():
        return cross_entropy(model(images), labels, reduction="none")


class OneByOne(nn.Module):
    """Shows a model its images one by one: a product of matrices rounds otherwise in another batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return torch.cat([self.model(image[None]) for image in images])


class Waves(nn.Module):
    """Three classes whose margins have many maxima."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        x = images.flatten(1)
        return torch.stack([x.sum(1), torch.sin(40 * x).sum(1) + 1, torch.cos(55 * x).sum(1)], 1)
