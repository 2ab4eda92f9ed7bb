"""The quantize-dequantize operator in torch, and the modules that hold its scales.

The operator is `clamp(round(x / scale), -2^(b-1), 2^(b-1) - 1) * scale` with ties to even: what ONNX's QuantizeLinear
and DequantizeLinear compute one after the other with zero point 0, and it is exported as exactly that pair. Its
gradient is straight-through inside the clipping range and zero outside (Bengio et al. 2013, arXiv 1308.3432). One bit
is the sign times the scale, as in XNOR-Net (Rastegari et al. 2016, arXiv 1603.05279), and weights under it pass their
gradient up to the magnitude 1, as there and in binarized networks before (Courbariaux et al. 2016, arXiv 1602.02830).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calibration.grid import SMALLEST_CHANNEL, integer_range, largest_integer
from calibration.observers import SMALLEST_RANGE

_NO_AXIS = -1


@torch.library.custom_op("calibration::quantize_dequantize", mutates_args=())
def quantize_dequantize(x: Tensor, scale: Tensor, axis: int, bits: int) -> Tensor:
    """Round to the grid of `scale` and back.

    Args:
        x: floating tensor of any shape.
        scale: float32, positive; a scalar, or shape (x.shape[axis],).
        axis: the axis that `scale` runs along; -1 for a scalar.
        bits: width of the signed integers, 2 to 16; 1 is the sign, of which zero has the positive one.

    Returns:
        A new tensor of x's shape and dtype. 16-bit types are widened in between: a quotient in bfloat16 is off by up to
        half a step.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32), copy=True)
    steps = _along(scale, wide, axis)
    if bits == 1:
        return torch.where(wide < 0, -steps, steps).to(x.dtype)
    low, high = integer_range(bits)
    return wide.div_(steps).round_().clamp_(low, high).mul_(steps).to(x.dtype)


@quantize_dequantize.register_fake
def _shape(x: Tensor, scale: Tensor, axis: int, bits: int) -> Tensor:
    del scale, axis, bits
    return torch.empty_like(x)


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
    del output
    x, scale, ctx.axis, ctx.bits = inputs
    ctx.save_for_backward(x, scale)


def _straight_through(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    x, scale = ctx.saved_tensors
    has_value = type(x) is Tensor and x.device.type == "cpu"  # what is being traced has none
    if ctx.axis == _NO_AXIS and ctx.bits > 1 and has_value:
        return _between(gradient, x, scale.item(), ctx.bits), None, None, None
    return gradient * _passing(x, scale, ctx.axis, ctx.bits), None, None, None


quantize_dequantize.register_autograd(_straight_through, setup_context=_remember)


def _between(gradient: Tensor, x: Tensor, scale: float, bits: int) -> Tensor:
    """Return what `_passing` lets through, in one pass over the tensor; asking for a value would make a GPU wait.

    On a CPU this is most of what quantizers cost in attacks and in training.
    """
    low, high = integer_range(bits)
    bounds = (np.nextafter(np.float32(end * scale), np.float32(end * np.inf)) for end in (low - 0.5, high + 0.5))
    lower, upper = (float(bound) for bound in bounds)
    return torch.ops.aten.hardtanh_backward(gradient, x, lower, upper)  # type: ignore[no-any-return]


def _passing(x: Tensor, scale: Tensor, axis: int, bits: int) -> Tensor:
    """Return where the gradient passes: at what rounds to an integer; under one bit, at what the sign covers."""
    if bits == 1 and axis != _NO_AXIS:
        return x.abs() <= 1  # the scale of a weight's sign is a mean: half of the weights lie beyond it
    steps = _along(scale, x, axis)
    low, high = (-0.5, 0.5) if bits == 1 else integer_range(bits)  # the sign covers one step to either side
    return (x >= (low - 0.5) * steps).logical_and_(x <= (high + 0.5) * steps)


def _along(scale: Tensor, x: Tensor, axis: int) -> Tensor:
    if axis == _NO_AXIS:
        return scale.to(x.dtype)
    shape = [1] * x.ndim
    shape[axis] = -1
    return scale.to(x.dtype).reshape(shape)


class ActivationQuantizer(nn.Module):
    """Quantizes one activation per tensor.

    Buffers:
        scale: float32 scalar.

    Attributes:
        tensor: name of what it quantizes.
        enabled: off, the module is the identity.
        momentum: while set, in training mode the range follows the largest magnitudes as a moving average, in which a
            batch counts with this weight, and one of nothing but zeros not at all.
        see: while set, it is shown every batch that passes.
    """

    scale: Tensor

    def __init__(self, tensor: str, bits: int) -> None:
        super().__init__()
        self.tensor = tensor
        self.bits = bits
        self.enabled = True
        self.momentum: float | None = None
        self.see: Callable[[Tensor], None] | None = None
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Return x on its grid."""
        if self.see is not None:
            self.see(x.detach())
        if not self.enabled:
            return x
        scale = self.scale
        if self.training and self.momentum is not None:
            peak = x.detach().abs().amax().float()
            # A batch of zeros says nothing of the range. No branch on it: on a GPU that would wait for the value.
            scale = torch.where(peak > 0, peak.clamp_min(SMALLEST_RANGE) / largest_integer(self.bits), scale)
            self.scale.lerp_(scale, self.momentum)
            scale = scale.clone()  # a tensor that passes twice moves it twice before the gradient is taken
        quantized: Tensor = quantize_dequantize(x, scale, _NO_AXIS, self.bits)
        return quantized


class WeightQuantizer(nn.Module):
    """Quantizes a weight per output channel.

    Args:
        tensor: name of the weight.
        channels: length of its axis of output channels.
        axis: that axis, from 0.
        bits: width.

    Buffers:
        scale: float32, shape (channels,): the channels' largest magnitudes fill the integers; under one bit it is the
            mean magnitude. In training mode it is taken from the weight at every step, in evaluation mode it stays.
    """

    scale: Tensor

    def __init__(self, tensor: str, channels: int, axis: int, bits: int) -> None:
        super().__init__()
        self.tensor = tensor
        self.axis = axis
        self.bits = bits
        self.enabled = True
        self.register_buffer("scale", torch.ones(channels))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight on its grid."""
        if not self.enabled:
            return weight
        scale = self.scale
        if self.training:
            self._fit(weight.detach())
            scale = scale.clone()  # a layer that is called twice fits twice before its gradient is taken
        quantized: Tensor = quantize_dequantize(weight, scale, self.axis, self.bits)
        return quantized

    def _fit(self, weight: Tensor) -> None:
        others = [axis for axis in range(weight.ndim) if axis != self.axis]
        magnitudes = weight.abs()
        peaks = (magnitudes.mean(others) if self.bits == 1 else magnitudes.amax(others)).float()
        floored = peaks.clamp_min(SMALLEST_CHANNEL * peaks.max())
        # No branch on the value: on a GPU that would wait for it at every step.
        peaks = torch.where(peaks.max() > SMALLEST_RANGE, floored, torch.ones_like(peaks))
        self.scale.copy_(peaks / largest_integer(self.bits))
