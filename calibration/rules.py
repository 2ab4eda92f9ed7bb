"""Where Q/DQ pairs go: one table, in ONNX's operator names, for a model's modules and for a graph alike.

The places follow TensorRT's rules for good INT8 fusion: quantize the inputs and the weights of what multiplies, both
inputs of a residual Add and the input of an AveragePool; never an output as a habit, never a bias, and nothing between
a convolution and the batch norm or ReLU that is fused into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Rule:
    """What is quantized around one operator.

    Attributes:
        activations: positions of the inputs that are quantized per tensor, where they are not constants.
        weight_axis: axis of the weight (input 1) that counts output channels; None where there is no weight.
    """

    activations: tuple[int, ...]
    weight_axis: int | None = None


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Conv": Rule(activations=(0,), weight_axis=0),
        "ConvTranspose": Rule(activations=(0,), weight_axis=1),
        "Gemm": Rule(activations=(0,), weight_axis=0),
        "MatMul": Rule(activations=(0, 1)),
        "Add": Rule(activations=(0, 1)),
        "AveragePool": Rule(activations=(0,)),
        "GlobalAveragePool": Rule(activations=(0,)),
    }
)
