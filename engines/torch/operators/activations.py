"""Activations: elementwise, and the softmax family."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def _softmax(x: Tensor, /, *, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


def _log_softmax(x: Tensor, /, *, axis: int = -1) -> Tensor:
    return torch.log_softmax(x, axis)


def _over_all_from(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Before opset 13 the softmax family ran over `axis` and all the axes after it, as one."""

    def run(x: Tensor, /, *, axis: int = 1) -> Tensor:
        axis %= x.ndim
        rows = x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
        return function(rows, axis=1).reshape(x.shape)

    return run


def _clip(
    x: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    /,
    *,
    min: float | None = None,
    max: float | None = None,
) -> Tensor:
    """Limits come as inputs, or as attributes before opset 11; the upper one wins where they cross."""
    floor = min if low is None else low.item()
    ceiling = max if high is None else high.item()
    return x if floor is None and ceiling is None else torch.clamp(x, floor, ceiling)


def _hard_sigmoid(x: Tensor, /, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Clip": _clip,
    "Elu": lambda x, /, *, alpha=1.0: F.elu(x, alpha),
    "Gelu": lambda x, /, *, approximate="none": F.gelu(x, approximate=approximate),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x, /: F.hardswish(x),
    "LeakyRelu": lambda x, /, *, alpha=0.01: F.leaky_relu(x, alpha),
    "LogSoftmax": _log_softmax,
    "Mish": lambda x, /: F.mish(x),
    "PRelu": lambda x, slope, /: torch.where(x < 0, x * slope, x),
    "Relu": lambda x, /: torch.relu(x),
    "Sigmoid": lambda x, /: torch.sigmoid(x),
    "Softmax": _softmax,
    "Softplus": lambda x, /: F.softplus(x),
    "Tanh": lambda x, /: torch.tanh(x),
}

BEFORE_OPSET_13: dict[str, Callable[..., Tensor]] = {
    "LogSoftmax": _over_all_from(_log_softmax),
    "Softmax": _over_all_from(_softmax),
}
