"""Small networks of the shapes that compression must handle: plain, residual, shared."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A stem, one block whose sum feeds two consumers, an average pool and a linear head; (batch, 1, 8, 8) to 3."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(8)
        self.skip = nn.Conv2d(8, 8, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        stem = torch.relu(self.stem_norm(self.stem(images)))
        block = torch.relu(self.first_norm(self.first(stem)) + self.skip(stem))
        logits: Tensor = self.head(self.pool(block).flatten(1))
        return logits


class Shared(nn.Module):
    """One convolution called twice, with a batch norm behind one of the calls; (batch, 2, 4, 4) to 3."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(32, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(torch.relu(self.conv(self.norm(self.conv(images)))).flatten(1))
        return logits


def plain() -> nn.Sequential:
    """Return conv, norm, ReLU, conv, ReLU, linear; (batch, 1, 8, 8) to 3."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 3),
    )


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all weights and batch norm statistics anew; return the model in evaluation mode."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.reset_parameters()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                if tensor is not None:
                    nn.init.uniform_(tensor, 0.3, 2.0)
    return model.eval()


def pixels(*shape: int, seed: int = 0) -> Tensor:
    """Return images in [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))
