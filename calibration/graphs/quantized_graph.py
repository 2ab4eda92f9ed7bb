"""A graph with Q/DQ as TensorRT reads it: which tensors come as integers, which layers run in INT8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calibration.graphs.constants import constant_values
from calibration.graphs.wiring import Wiring, attribute, named, operand
from calibration.rules import RULES

if TYPE_CHECKING:
    import onnx

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
LAYERS = frozenset(kind for kind, rule in RULES.items() if rule.weight_axis is not None)
CONVOLUTIONS = LAYERS - {"Gemm", "MatMul"}
# Integers go through them unchanged: TensorRT moves Q and DQ across.
MOVES = frozenset({"Cast", "Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True)
class Quantizer:
    """A QuantizeLinear or DequantizeLinear.

    Attributes:
        node: itself.
        before: the QuantizeLinear in front of a DequantizeLinear.
        constant: whether what it quantizes is the same for every image: a weight.
        scale: its values, None where they depend on the images.
        zero_point: likewise; an array of 0 where it is left out.
        element_type: of the integers, one of `onnx.TensorProto.DataType`.
        axis: along which the scale runs.
    """

    node: onnx.NodeProto
    before: Quantizer | None
    constant: bool
    scale: Any
    zero_point: Any
    element_type: int
    axis: int

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return self.scale is not None and self.scale.size > 1

    def __str__(self) -> str:
        return named(self.node)


class QuantizedGraph(Wiring):
    """An index of a graph's tensors, nodes and quantizers.

    Attributes:
        quantizers: every QuantizeLinear and DequantizeLinear by the tensor it gives, in the order of the nodes.
        values: of the constants beside the first input of a quantizer: scales, zero points.
        layers: every operator for which the rule table has a weight and that reads images or what came of them.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        nodes = [node for node in self.nodes if node.op_type in (QUANTIZE, DEQUANTIZE)]
        settings = [name for node in nodes for name in node.input[1:]]
        self.values = constant_values(model, [name for name in settings if name and self.constant(name)])
        self.quantizers: dict[str, Quantizer] = {}
        for node in nodes:
            self.quantizers[node.output[0]] = self._read(node)
        self.layers = tuple(node for node in self.nodes if node.op_type in LAYERS and not self.constant(node.output[0]))

    def dequantizer(self, tensor: str) -> Quantizer | None:
        """Return the DequantizeLinear that a tensor comes from, seen through what integers go through unchanged."""
        found = self.quantizers.get(self.source(tensor, MOVES))
        return found if found is not None and found.node.op_type == DEQUANTIZE else None

    def quantized_inputs(self, layer: onnx.NodeProto) -> tuple[bool, bool]:
        """Return whether each of a layer's two factors comes from a DequantizeLinear."""
        first, second = (self.dequantizer(operand(layer, position)) is not None for position in (0, 1))
        return first, second

    def runs_in_int8(self, node: onnx.NodeProto) -> bool:
        """Return whether a node is a layer with both factors quantized."""
        return node.op_type in LAYERS and all(self.quantized_inputs(node))

    def biases(self, node: onnx.NodeProto) -> Iterator[str]:
        """Yield the tensors that a node adds to its result: input 2 of a layer, a constant operand of an Add."""
        if node.op_type in LAYERS and operand(node, 2):
            yield node.input[2]
        if node.op_type == "Add" and not self.constant(node.output[0]):
            yield from (tensor for tensor in node.input if self.constant(tensor))

    def _read(self, node: onnx.NodeProto) -> Quantizer:
        import numpy as np

        is_quantize = node.op_type == QUANTIZE
        return Quantizer(
            node=node,
            before=None if is_quantize else self.quantizers.get(self.source(node.input[0])),
            constant=self.constant(node.input[0]),
            scale=self.values.get(node.input[1]),
            zero_point=self.values.get(node.input[2]) if operand(node, 2) else np.zeros(()),
            element_type=self.element_type(node.output[0] if is_quantize else node.input[0]),
            axis=attribute(node, "axis", 1),
        )
