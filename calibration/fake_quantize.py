"""The quantize-dequantize operator in torch, and the modules that hold its scales.

The operator is `clamp(round(x / scale), -2^(b-1), 2^(b-1) - 1) * scale` with ties to even: what ONNX's QuantizeLinear
and DequantizeLinear compute one after the other with zero point 0, and it is exported as exactly that pair. Its
gradient is straight-through inside the clipping range and zero outside (Bengio et al. 2013, arXiv 1308.3432).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from calibration.observers import SMALLEST_RANGE, Observer

_NO_AXIS = -1


@torch.library.custom_op("calibration::quantize_dequantize", mutates_args=())
def quantize_dequantize(x: Tensor, scale: Tensor, axis: int, bits: int) -> Tensor:
    """Round to the grid of `scale` and back.

    Args:
        x: floating tensor of any shape.
        scale: float32, positive; a scalar, or shape (x.shape[axis],).
        axis: the axis that `scale` runs along; -1 for a scalar.
        bits: width of the signed integers, 2 to 16.

    Returns:
        A new tensor of x's shape and dtype. 16-bit types are widened in between: a quotient in bfloat16 is off by up to
        half a step.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    steps = _along(scale, wide, axis)
    low, high = integer_range(bits)
    return (wide / steps).round_().clamp_(low, high).mul_(steps).to(x.dtype)


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
    steps = _along(scale, x, ctx.axis)
    low, high = integer_range(ctx.bits)
    inside = (x >= (low - 0.5) * steps).logical_and_(x <= (high + 0.5) * steps)
    return gradient * inside, None, None, None


quantize_dequantize.register_autograd(_straight_through, setup_context=_remember)


def integer_range(bits: int) -> tuple[int, int]:
    """Return the smallest and largest signed integer of that width."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


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
        enabled: off, the module is the identity.
        observer: while set, it sees every batch that passes.
    """

    scale: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.enabled = True
        self.observer: Observer | None = None
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Return x on its grid."""
        if self.observer is not None:
            self.observer.see(x.detach().float().cpu().numpy())
        if not self.enabled:
            return x
        quantized: Tensor = quantize_dequantize(x, self.scale, _NO_AXIS, self.bits)
        return quantized


class WeightQuantizer(nn.Module):
    """Quantizes a weight per output channel, as a parametrization of the layer's `weight`.

    Buffers:
        scale: float32, shape (output channels,): the channels' largest magnitudes fill the integers. In training mode
            it is taken from the weight at every step, in evaluation mode it stays.
    """

    scale: Tensor

    def __init__(self, weight: Tensor, axis: int, bits: int) -> None:
        super().__init__()
        self.axis = axis
        self.bits = bits
        self.enabled = True
        self.register_buffer("scale", torch.ones(weight.shape[axis]))
        self.fit(weight)

    @torch.no_grad()
    def fit(self, weight: Tensor) -> None:
        """Take the scales from a weight."""
        others = [axis for axis in range(weight.ndim) if axis != self.axis]
        self.scale.copy_(_scale_of(weight.detach().abs().amax(others), self.bits))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight on its grid."""
        if not self.enabled:
            return weight
        scale = self.scale
        if self.training:
            self.fit(weight)
            scale = scale.clone()  # a layer that is called twice fits twice before its gradient is taken
        quantized: Tensor = quantize_dequantize(weight, scale, self.axis, self.bits)
        return quantized


def _scale_of(magnitude: Tensor, bits: int) -> Tensor:
    return magnitude.clamp_min(SMALLEST_RANGE) / integer_range(bits)[1]
