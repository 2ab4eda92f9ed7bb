"""Rules of `lint` for what TensorRT refuses, or builds into another function than the graph describes.

A rule yields (node, sentence). Tried on the parser and builder of TensorRT-RTX 1.7: refused are a zero point other than
0, a scale that is 0, negative or NaN, int16, and an int32 DequantizeLinear; built without an error are uint8 (as int8),
an infinite scale, scales of a pair that differ, a per-channel activation, a weight along another axis
and an int8 bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from calibration.graphs.operations import rule_name
from calibration.graphs.quantized_graph import QuantizedGraph, Quantizer
from calibration.graphs.wiring import attribute, named
from calibration.rules import RULES

if TYPE_CHECKING:
    import onnx

    Faults = Iterator[tuple[onnx.NodeProto, str]]

_INTEGER_NAMES = ("INT", "UINT")


def _each(graph: QuantizedGraph, fault: Callable[[Quantizer], str | None]) -> Faults:
    """Yield the quantizers with a fault; a DequantizeLinear only if the QuantizeLinear before it is without."""
    for quantizer in graph.quantizers.values():
        sentence = fault(quantizer)
        if sentence and not (quantizer.before is not None and fault(quantizer.before)):
            yield quantizer.node, sentence


def non_zero_zero_point(graph: QuantizedGraph) -> Faults:
    """A zero point that is not 0, or that depends on the images: TensorRT quantizes symmetrically."""

    def fault(quantizer: Quantizer) -> str | None:
        if quantizer.zero_point is None:
            return f"the zero point of {quantizer} depends on the images; make it a constant int8 0 for TensorRT"
        if np.any(quantizer.zero_point.astype(np.float32) != 0):
            return f"the zero point of {quantizer} is not 0, which TensorRT refuses; quantize symmetrically"
        return None

    return _each(graph, fault)


def uint8(graph: QuantizedGraph) -> Faults:
    """Integers of uint8, also by ONNX's default: a QuantizeLinear without a zero point."""
    from onnx import TensorProto

    def fault(quantizer: Quantizer) -> str | None:
        if quantizer.element_type != TensorProto.UINT8:
            return None
        if len(quantizer.node.input) < 3:
            return f"{quantizer} has no zero point, so it is uint8 and TensorRT reads int8; add an int8 zero point 0"
        return f"{quantizer} is uint8, which TensorRT reads as int8 without an error; quantize to int8"

    return _each(graph, fault)


def not_int8(graph: QuantizedGraph) -> Faults:
    """Integers of another width, as int16 or int4. Eight-bit floats pass; an int32 bias is `quantized_bias`'s."""
    from onnx import TensorProto

    biases = {
        found.node.output[0]
        for node in graph.nodes
        for bias in graph.biases(node)
        if (found := graph.dequantizer(bias)) is not None
    }

    def fault(quantizer: Quantizer) -> str | None:
        name = TensorProto.DataType.Name(quantizer.element_type)
        if not name.startswith(_INTEGER_NAMES) or quantizer.element_type in (TensorProto.INT8, TensorProto.UINT8):
            return None
        if quantizer.element_type == TensorProto.INT32 and quantizer.node.output[0] in biases:
            return None
        return f"{quantizer} is {name.lower()}, TensorRT needs int8; quantize to int8"

    return _each(graph, fault)


def scale(graph: QuantizedGraph) -> Faults:
    """A scale that is not positive, finite and constant, or a pair with two scales.

    The last is legal ONNX, and TensorRT builds it: every value is then multiplied by the quotient of the scales, which
    no quantization means. Hence an error.
    """

    def fault(quantizer: Quantizer) -> str | None:
        values = quantizer.scale
        if values is None:
            return f"the scale of {quantizer} depends on the images; calibrate to make it a constant"
        if not (np.all(np.isfinite(values)) and np.all(values > 0)):
            return f"the scale of {quantizer} is not positive and finite; calibrate again"
        before = quantizer.before
        if before is not None and before.scale is not None and not _same_scale(before, quantizer):
            return f"the scale of {quantizer} is not that of {before} before it; give both the same scale and axis"
        return None

    return _each(graph, fault)


def _same_scale(first: Quantizer, second: Quantizer) -> bool:
    comparable = second.per_channel and (first.axis < 0) == (second.axis < 0)
    along_one_axis = not comparable or first.axis == second.axis
    return along_one_axis and np.array_equal(first.scale.reshape(-1), second.scale.reshape(-1))


def per_channel_activation(graph: QuantizedGraph) -> Faults:
    """More than one scale for a tensor that is not constant."""

    def fault(quantizer: Quantizer) -> str | None:
        if quantizer.constant or not quantizer.per_channel:
            return None
        count = quantizer.scale.size
        return f"{quantizer} has {count} scales for an activation; give it one: TensorRT takes more for weights alone"

    return _each(graph, fault)


def weight_axis(graph: QuantizedGraph) -> Faults:
    """A weight with scales along another axis than the one that counts output channels."""
    for layer in graph.layers:
        weight = graph.dequantizer(layer.input[1])
        if weight is None or not weight.constant or not weight.per_channel:
            continue
        axis = _output_axis(graph, layer, weight)
        rank = len(graph.shape(weight.node.output[0]) or ())
        if axis is not None and rank and (weight.axis - axis) % rank:
            yield (
                weight.node,
                f"{weight} scales the weight of {named(layer)} along axis {weight.axis}; "
                f"quantize along {axis % rank}, the output channels, as TensorRT reads it",
            )


def _output_axis(graph: QuantizedGraph, layer: onnx.NodeProto, weight: Quantizer) -> int | None:
    """Return the axis of output channels at the DequantizeLinear; None behind anything but Transpose and Identity."""
    rule = RULES.get(rule_name(layer, graph))
    if rule is None or rule.weight_axis is None:
        return None
    axis = rule.weight_axis
    for tensor in graph.walk_back(layer.input[1], {"Transpose", "Identity"}):
        node = graph.maker(tensor)
        if node is not None and node.op_type == "Transpose":
            order = attribute(node, "perm", None)
            axis = -1 - axis if order is None else int(order[axis])
        elif node is not None and node.output[0] == weight.node.output[0]:
            return axis
    return None


def quantized_bias(graph: QuantizedGraph) -> Faults:
    """A bias from a DequantizeLinear: input 2 of a layer, or a constant operand of an Add."""
    for node in graph.nodes:
        for bias in graph.biases(node):
            found = graph.dequantizer(bias)
            if found is not None:
                yield (
                    node,
                    f"the bias of {named(node)} is quantized by {found}; store it as floats, which TensorRT reads",
                )
