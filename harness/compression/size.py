"""How large a model is, independently of any engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


@dataclass(frozen=True)
class Size:
    """How large a model is.

    Attributes:
        parameters: number of them.
        macs: multiply-accumulates of one image, in convolutions and matrix products.
        weight_bytes: bytes that its parameters take in the type that they are in.
    """

    parameters: int
    macs: int
    weight_bytes: int


def size_of(model: nn.Module, input_shape: Sequence[int]) -> Size:
    """Return the size of a model.

    Args:
        model: images (batch, …) to logits.
        input_shape: channels, height, width.
    """
    macs, parameters = count_macs_and_parameters(model, input_shape)
    return Size(parameters, macs, sum(each.numel() * each.element_size() for each in model.parameters()))


def count_macs_and_parameters(model: nn.Module, input_shape: Sequence[int]) -> tuple[int, int]:
    """Return the multiply-accumulates of one image and the number of parameters.

    Counted are convolutions and matrix products, attention's among them.

    Args:
        model: images (batch, …) to logits.
        input_shape: channels, height, width.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *input_shape))
    return counter.get_total_flops() // 2, sum(parameter.numel() for parameter in model.parameters())
