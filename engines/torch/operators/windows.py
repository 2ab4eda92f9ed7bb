"""Operators that slide a window: convolutions and pooling, in one to three dimensions.

torch pads both sides of an axis alike and pools with at most half a window of padding; ONNX has neither limit. What
fits goes to torch's own function, the rest is padded first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class _Window(NamedTuple):
    """A window along each spatial axis, with all defaults and automatic pads worked out."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    behind: list[int]

    @property
    def symmetric(self) -> bool:
        return self.before == self.behind

    @property
    def reach(self) -> list[int]:
        """The extent of one window, its gaps counted."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]


def _window(
    space: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
) -> _Window:
    rank = len(space)
    ones, zeros = [1] * rank, [0] * rank
    given = list(pads or zeros + zeros) if auto_pad == "NOTSET" else zeros + zeros
    window = _Window(list(kernel), list(strides or ones), list(dilations or ones), given[:rank], given[rank:])
    if not auto_pad.startswith("SAME"):
        return window
    totals = [
        max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        for size, stride, reach in zip(space, window.strides, window.reach, strict=True)
    ]
    return window._replace(**_halves(totals, upper=auto_pad == "SAME_UPPER"))


def _halves(totals: Sequence[int], *, upper: bool) -> dict[str, list[int]]:
    """Share padding between both sides; an odd one goes behind (`SAME_UPPER`) or before."""
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return {"before": small, "behind": large} if upper else {"before": large, "behind": small}


def _padded(x: Tensor, before: Sequence[int], behind: Sequence[int], value: float) -> Tensor:
    widths = [width for pair in zip(reversed(before), reversed(behind), strict=True) for width in pair]
    return F.pad(x, widths, value=value)


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    group: int = 1,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    kernel_shape: Sequence[int] | None = None,  # noqa: ARG001 - the weight has it
) -> Tensor:
    w = _window(x.shape[2:], weight.shape[2:], strides, dilations, pads, auto_pad)
    padding = w.before
    if not w.symmetric:
        x, padding = _padded(x, w.before, w.behind, 0.0), [0] * len(padding)
    return torch.convolution(x, weight, bias, w.strides, padding, w.dilations, False, [0], group)


def _conv_transpose(  # noqa: PLR0913 - what ONNX gives it
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    /,
    *,
    group: int = 1,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    kernel_shape: Sequence[int] | None = None,  # noqa: ARG001 - the weight has it
) -> Tensor:
    """Pads cut from the full result; an output shape, given or automatic, says how much."""
    space = x.shape[2:]
    w = _window(space, weight.shape[2:], strides, dilations, pads, "NOTSET" if auto_pad == "NOTSET" else "VALID")
    extra = list(output_padding or [0] * len(space))
    full = [s * (n - 1) + e + r for s, n, e, r in zip(w.strides, space, extra, w.reach, strict=True)]
    if output_shape is None and auto_pad.startswith("SAME"):
        output_shape = [size * stride for size, stride in zip(space, w.strides, strict=True)]
    if output_shape is not None:
        totals = [max(a - b, 0) for a, b in zip(full, output_shape, strict=True)]
        w = w._replace(**_halves(totals, upper=auto_pad == "SAME_UPPER"))
    padding = w.before if w.symmetric else [0] * len(space)
    y = torch.convolution(x, weight, bias, w.strides, padding, w.dilations, True, extra, group)
    return y if w.symmetric else _padded(y, [-p for p in w.before], [-p for p in w.behind], 0.0)


def _ceiling(space: Sequence[int], w: _Window) -> list[int]:
    """How far the last windows of ceil mode reach past the padding, along each axis.

    A window that would begin behind the image, in the padding or past it, does not count.
    """
    past = []
    for size, stride, reach, before, behind in zip(space, w.strides, w.reach, w.before, w.behind, strict=True):
        windows = math.ceil((size + before + behind - reach) / stride) + 1
        if (windows - 1) * stride >= size + before:
            windows -= 1
        past.append(max((windows - 1) * stride + reach - size - before - behind, 0))
    return past


def _fits_torch(w: _Window) -> bool:
    return w.symmetric and all(2 * pad <= kernel for pad, kernel in zip(w.before, w.kernel, strict=True))


_MAX_POOLS: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOLS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _max_pool(
    x: Tensor,
    /,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    storage_order: int = 0,  # noqa: ARG001 - orders the indices, which are refused at load
) -> Tensor:
    space = x.shape[2:]
    w = _window(space, kernel_shape, strides, dilations, pads, auto_pad)
    pool = _MAX_POOLS[len(space)]
    if _fits_torch(w):
        return pool(x, w.kernel, w.strides, w.before, w.dilations, bool(ceil_mode))
    past = _ceiling(space, w) if ceil_mode else [0] * len(space)
    behind = [pad + more for pad, more in zip(w.behind, past, strict=True)]
    return pool(_padded(x, w.before, behind, -math.inf), w.kernel, w.strides, 0, w.dilations)


def _average_pool(
    x: Tensor,
    /,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Tensor:
    """What ceil mode adds past the padding is never counted."""
    space = x.shape[2:]
    w = _window(space, kernel_shape, strides, dilations, pads, auto_pad)
    if _fits_torch(w) and max(w.dilations) == 1:
        pool = _AVERAGE_POOLS[len(space)]
        return pool(x, w.kernel, w.strides, w.before, bool(ceil_mode), bool(count_include_pad))
    past = _ceiling(space, w) if ceil_mode else [0] * len(space)
    counted = _padded(torch.ones_like(x[:1, :1]), w.before, w.behind, float(count_include_pad))
    nothing = [0] * len(space)
    sums = _window_sums(_padded(_padded(x, w.before, w.behind, 0.0), nothing, past, 0.0), w)
    return sums / _window_sums(_padded(counted, nothing, past, 0.0), w)


def _window_sums(x: Tensor, w: _Window) -> Tensor:
    """A convolution of each channel with ones: unlike torch's pooling it knows dilations."""
    ones = torch.ones([1, 1, *w.kernel], dtype=x.dtype, device=x.device)
    channels = x.flatten(0, 1).unsqueeze(1)
    sums = torch.convolution(channels, ones, None, w.strides, [0], w.dilations, False, [0], 1)
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
}
