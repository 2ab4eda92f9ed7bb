"""Operators that move values about, and the shape arithmetic that tells them where to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def _constant(
    *,
    value: Tensor | None = None,
    value_float: float = 0.0,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
) -> Tensor:
    if value is not None:
        return value
    if value_ints is not None or value_int is not None:
        return torch.tensor(value_int if value_ints is None else value_ints, dtype=torch.int64)
    return torch.tensor(value_float if value_floats is None else value_floats, dtype=torch.float32)


def _constant_of_shape(shape: Tensor, /, *, value: Tensor | None = None) -> Tensor:
    if value is None:
        return torch.zeros(shape.tolist())
    return torch.full(shape.tolist(), value.item(), dtype=value.dtype)


def _shape(x: Tensor, /, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


def _reshape(x: Tensor, shape: Tensor, /, *, allowzero: int = 0) -> Tensor:
    """A size of 0 copies the size that is there, unless `allowzero` takes it at its word."""
    sizes = shape.tolist()
    return x.reshape([x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(sizes)])


def _flatten(x: Tensor, /, *, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _transpose(x: Tensor, /, *, perm: Sequence[int] | None = None) -> Tensor:
    return x.permute(list(reversed(range(x.ndim))) if perm is None else list(perm))


def _concat(*xs: Tensor, axis: int) -> Tensor:
    return torch.cat(xs, axis)


def _split(
    x: Tensor,
    sizes: Tensor | None = None,
    /,
    *,
    num_outputs: int,
    axis: int = 0,
    split: Sequence[int] | None = None,
) -> tuple[Tensor, ...]:
    """The loader always names `num_outputs`; without sizes the parts are equal, the last ones smaller."""
    if sizes is not None or split is not None:
        return torch.split_with_sizes(x, list(split or []) if sizes is None else sizes.tolist(), axis)
    size = x.shape[axis]
    part = math.ceil(size / num_outputs)
    return torch.split_with_sizes(x, [max(0, min(part, size - i * part)) for i in range(num_outputs)], axis)


def _squeeze(x: Tensor, axes_input: Tensor | None = None, /, *, axes: Sequence[int] | None = None) -> Tensor:
    chosen = axes if axes_input is None else axes_input.tolist()
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


def _unsqueeze(x: Tensor, axes_input: Tensor | None = None, /, *, axes: Sequence[int] = ()) -> Tensor:
    """The axes count in the result, so they are put in from the first to the last."""
    chosen = axes if axes_input is None else axes_input.tolist()
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def _gather(x: Tensor, indices: Tensor, /, *, axis: int = 0) -> Tensor:
    axis %= x.ndim
    if indices.ndim == 0:
        return x.select(axis, int(indices))
    flat = indices.flatten().to(x.device)
    found = x.index_select(axis, torch.where(flat < 0, flat + x.shape[axis], flat))
    return found.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


def _slice(
    x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None, /
) -> Tensor:
    first, last = starts.tolist(), ends.tolist()
    along = range(len(first)) if axes is None else axes.tolist()
    by = [1] * len(first) if steps is None else steps.tolist()
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        kept = range(*slice(start, end, step).indices(x.shape[axis]))
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(kept.start, kept.stop, step),)]
        else:  # torch cannot step backwards
            x = x.index_select(axis, torch.tensor(list(kept), dtype=torch.int64, device=x.device))
    return x


def _expand(x: Tensor, shape: Tensor, /) -> Tensor:
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(shape.tolist())))


def _pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    /,
    *,
    mode: str = "constant",  # noqa: ARG001 - others are refused at load
) -> Tensor:
    """All that goes before each axis, then all that goes behind it; a negative pad cuts."""
    amounts = pads.tolist()
    along = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes.tolist()]
    widths = [0] * (2 * x.ndim)  # torch counts axes from the last one
    for axis, before, behind in zip(along, amounts[: len(along)], amounts[len(along) :], strict=True):
        widths[2 * (x.ndim - 1 - axis)] = before
        widths[2 * (x.ndim - 1 - axis) + 1] = behind
    return F.pad(x, widths, value=0 if value is None else value.item())


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
