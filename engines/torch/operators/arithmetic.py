"""Elementwise arithmetic with broadcasting, comparison, selection and casts."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps

import torch
from torch import Tensor

DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""torch's dtype for each element type of ONNX (`TensorProto.DataType`) that a float classifier uses."""


def _together(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let what was computed from shapes, on the CPU, meet what was computed from the image, which may lie elsewhere.

    A scalar stays where it is: torch takes it from the CPU.
    """

    @wraps(function)
    def run(*xs: Tensor) -> Tensor:
        if len({x.device for x in xs}) == 1:
            return function(*xs)
        device = next(x.device for x in xs if x.device.type != "cpu")
        return function(*(x.to(device) if x.ndim else x for x in xs))

    return run


@_together
def _div(x: Tensor, y: Tensor, /) -> Tensor:
    return torch.div(x, y) if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


@_together
def _pow(x: Tensor, exponent: Tensor, /) -> Tensor:
    """The exponent may have another type; the result has the type of the base."""
    return torch.pow(x, exponent).to(x.dtype)


def _mod(x: Tensor, y: Tensor, /, *, fmod: int = 0) -> Tensor:
    """The sign is the divisor's, or as in C the dividend's."""
    return _together(torch.fmod if fmod else torch.remainder)(x, y)


def _where(condition: Tensor, x: Tensor, y: Tensor, /) -> Tensor:
    """A condition on shapes lies on the CPU while what it chooses from may not."""
    device = next((t.device for t in (x, y, condition) if t.device.type != "cpu"), x.device)
    return torch.where(condition.to(device), x.to(device), y.to(device))


def _cast(x: Tensor, /, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:  # noqa: ARG001 - float8 only
    """A cast between floating types does nothing: a program has one floating type."""
    dtype = DTYPES[to]
    return x if x.is_floating_point() and dtype.is_floating_point else x.to(dtype)


def _dropout(
    x: Tensor,
    rate: Tensor | None = None,  # noqa: ARG001
    training: Tensor | None = None,  # noqa: ARG001
    /,
    *,
    ratio: float = 0.5,  # noqa: ARG001
    seed: int = 0,  # noqa: ARG001
) -> Tensor:
    """Inference keeps every value, whatever the graph says about training."""
    return x


def _range(start: Tensor, limit: Tensor, delta: Tensor, /) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Abs": lambda x, /: torch.abs(x),
    "Add": _together(lambda x, y, /: torch.add(x, y)),
    "And": _together(lambda x, y, /: torch.logical_and(x, y)),
    "Cast": _cast,
    "Ceil": lambda x, /: torch.ceil(x),
    "Div": _div,
    "Dropout": _dropout,
    "Equal": _together(lambda x, y, /: torch.eq(x, y)),
    "Erf": lambda x, /: torch.erf(x),
    "Exp": lambda x, /: torch.exp(x),
    "Floor": lambda x, /: torch.floor(x),
    "Greater": _together(lambda x, y, /: torch.gt(x, y)),
    "Identity": lambda x, /: x,
    "Less": _together(lambda x, y, /: torch.lt(x, y)),
    "Log": lambda x, /: torch.log(x),
    "Max": _together(lambda *xs: reduce(torch.maximum, xs)),
    "Min": _together(lambda *xs: reduce(torch.minimum, xs)),
    "Mod": _mod,
    "Mul": _together(lambda x, y, /: torch.mul(x, y)),
    "Neg": lambda x, /: torch.neg(x),
    "Not": lambda x, /: torch.logical_not(x),
    "Or": _together(lambda x, y, /: torch.logical_or(x, y)),
    "Pow": _pow,
    "Range": _range,
    "Reciprocal": lambda x, /: torch.reciprocal(x),
    "Sqrt": lambda x, /: torch.sqrt(x),
    "Sub": _together(lambda x, y, /: torch.sub(x, y)),
    "Sum": _together(lambda *xs: reduce(torch.add, xs)),
    "Where": _where,
}
