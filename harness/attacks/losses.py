"""What attacks climb: losses of every image by itself, larger the nearer it is to a wrong decision.

DLR, the difference of logits ratio (Croce and Hein 2020, arXiv 2003.01690), changes neither when all logits are shifted
nor when they are scaled: a network cannot hide its gradients behind large logits, as it can with cross-entropy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_TINY = 1e-12


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -log softmax(z)_y of every image, shape (n,), at least 0.

    Args:
        logits: float, shape (n, classes).
        labels: int64, shape (n,).
    """
    from torch.nn import functional

    return functional.cross_entropy(logits, labels, reduction="none")


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -(z_y - max of the others) / (z_1st - z_3rd) of every image, shape (n,); above 0 where another is larger.

    With fewer than three classes there is no third logit, and the loss is the numerator alone.

    Args:
        logits: float, shape (n, classes), at least two classes.
        labels: int64, shape (n,).
    """
    import torch

    first = logits.topk(min(3, logits.shape[1]), dim=1)
    other = torch.where(first.indices[:, 0] == labels, first.values[:, 1], first.values[:, 0])
    difference = other - _of_class(logits, labels)
    if logits.shape[1] < 3:
        return difference
    return difference / (first.values[:, 0] - first.values[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Return -(z_y - z_target) / (z_1st - (z_3rd + z_4th) / 2) of every image, shape (n,).

    With fewer than four classes there is no fourth logit, and the loss is the numerator alone.

    Args:
        logits: float, shape (n, classes), at least two classes.
        labels: int64, shape (n,).
        targets: int64, shape (n,): the wrong class that each image is driven to.
    """
    difference = _of_class(logits, targets) - _of_class(logits, labels)
    if logits.shape[1] < 4:
        return difference
    first = logits.topk(4, dim=1).values
    return difference / (first[:, 0] - (first[:, 2] + first[:, 3]) / 2 + _TINY)


def _of_class(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]
