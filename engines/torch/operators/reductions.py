"""Reductions, whose axes are an attribute in older opsets and an input in newer ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def _reduction(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Callable[..., Tensor]:
    def run(
        x: Tensor,
        axes_input: Tensor | None = None,
        /,
        *,
        axes: Sequence[int] = (),
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        chosen = tuple(axes if axes_input is None else axes_input.tolist())
        if not chosen and noop_with_empty_axes:
            return x
        return function(x, chosen or tuple(range(x.ndim)), bool(keepdims))

    return run


def _product(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Multiply along one axis at a time, as torch does; from the last on, so that the others keep their numbers."""
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim)
    return x


def _over_space(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor, /) -> Tensor:
        return function(x, tuple(range(2, x.ndim)), True)

    return run


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "GlobalAveragePool": _over_space(torch.mean),
    "GlobalMaxPool": _over_space(torch.amax),
    "ReduceL2": _reduction(lambda x, axes, keepdim: torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(torch.sum),
}
