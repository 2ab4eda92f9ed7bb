"""How large a model is, independently of any engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn


def count_macs_and_parameters(model: nn.Module, input_shape: Sequence[int]) -> tuple[int, int]:
    """Return the multiply-accumulates of one image and the number of parameters.

    Counted are convolutions and linear layers, as the compression literature does.

    Args:
        model: images (batch, …) to logits.
        input_shape: channels, height, width.
    """
    import torch
    from torch import nn

    macs = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        weight: Any = layer.weight
        if isinstance(layer, nn.modules.conv._ConvTransposeNd):
            macs += inputs[0][0].numel() * math.prod(weight.shape[1:])
        else:  # every output value is one product with the weights of its channel
            macs += output[0].numel() * math.prod(weight.shape[1:])

    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, kinds)]
    try:
        with torch.inference_mode():
            model(torch.zeros(1, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return macs, sum(parameter.numel() for parameter in model.parameters())
