"""Rules of `lint` for what costs speed: layers that run in float, fusions that are split, narrow convolutions.

A rule yields (node, sentence), which says so where it holds on TensorRT and perhaps on no other runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from calibration.graphs.operations import rule_name
from calibration.graphs.quantized_graph import CONVOLUTIONS, DEQUANTIZE, LAYERS, QUANTIZE, QuantizedGraph
from calibration.graphs.wiring import attribute, called, named
from calibration.rules import RULES

if TYPE_CHECKING:
    import onnx

    Faults = Iterator[tuple[onnx.NodeProto, str]]

FEW_CHANNELS = 16
CHANNEL_MULTIPLE = 8

_FUSED = frozenset({"BatchNormalization", "Relu", "Clip"})
_POOLS = frozenset(kind for kind, rule in RULES.items() if rule.activations == (0,))


def split_fusion(graph: QuantizedGraph) -> Faults:
    """A Q/DQ pair between a layer and the batch norm, activation or bias that would be fused into it."""
    for quantizer in graph.quantizers.values():
        layer = _fused_into(graph, quantizer.node.input[0]) if quantizer.node.op_type == QUANTIZE else None
        if layer is None:
            continue
        pairs = [node for node in graph.readers(quantizer.node.output[0]) if node.op_type == DEQUANTIZE]
        for follower in (node for pair in pairs for node in graph.readers(pair.output[0])):
            if follower.op_type in _FUSED or _adds_constant(graph, follower):
                yield (
                    quantizer.node,
                    f"{quantizer} keeps TensorRT from fusing {named(follower)} into {named(layer)}; "
                    f"let '{called(follower)}' read '{quantizer.node.input[0]}' itself",
                )


def _fused_into(graph: QuantizedGraph, tensor: str) -> onnx.NodeProto | None:
    """Return the layer that gives a tensor, seen through the batch norm and the bias that it takes up."""
    for each in graph.walk_back(tensor, {"Identity", "BatchNormalization", "Add"}):
        node = graph.maker(each)
        if node is None or (node.op_type == "Add" and not _adds_constant(graph, node)):
            return None
        if node.op_type in LAYERS:
            return node
    return None


def _adds_constant(graph: QuantizedGraph, node: onnx.NodeProto) -> bool:
    return node.op_type == "Add" and any(graph.constant(tensor) for tensor in node.input)


def unquantized_input(graph: QuantizedGraph) -> Faults:
    """A layer with one factor quantized and the other not."""
    for layer in graph.layers:
        first, second = graph.quantized_inputs(layer)
        if first != second:
            tensor = layer.input[1 if first else 0]
            what = "weight" if graph.constant(tensor) else "input"
            yield (
                layer,
                f"{named(layer)} runs in float because its {what} '{tensor}' has no Q/DQ; quantize that as well",
            )


def float_layer(graph: QuantizedGraph) -> Faults:
    """A layer with no factor quantized."""
    for layer in graph.layers:
        if not any(graph.quantized_inputs(layer)):
            yield layer, f"{named(layer)} has no Q/DQ and runs in float; quantize its inputs unless that is meant"


def float_residual(graph: QuantizedGraph) -> Faults:
    """An Add beside a quantized convolution, one of whose operands the convolution cannot take up as integers.

    An operand is taken up if it comes from a DequantizeLinear; one of the two may also be what a quantized convolution
    gives, which is then fused with the Add.
    """
    for node in graph.nodes:
        if rule_name(node, graph) != "Add" or any(graph.constant(tensor) for tensor in node.input):
            continue
        quantized = [graph.dequantizer(tensor) is not None for tensor in node.input]
        fused = [_convolved(graph, tensor, {"Identity", "BatchNormalization"}) for tensor in node.input]
        missing = [each for each, *taken in zip(node.input, quantized, fused, strict=True) if not any(taken)]
        if not any(quantized):
            if not any(_convolved(graph, tensor, {"Identity", *_FUSED}) for tensor in node.input):
                continue
            missing = missing or [node.input[1]]
        if missing:
            tensors = " and ".join(f"'{tensor}'" for tensor in missing)
            yield node, f"{named(node)} reads {tensors} in float, so TensorRT does not add in INT8; quantize {tensors}"


def _convolved(graph: QuantizedGraph, tensor: str, through: set[str]) -> bool:
    node = graph.maker(graph.source(tensor, through))
    return node is not None and node.op_type in CONVOLUTIONS and graph.runs_in_int8(node)


def float_pool(graph: QuantizedGraph) -> Faults:
    """An average over height and width between layers in INT8 whose input is not quantized."""
    behind = _behind(graph, graph.runs_in_int8)
    ahead: set[str] = set()
    for node in reversed(graph.nodes):
        if graph.runs_in_int8(node) or not ahead.isdisjoint(node.output):
            ahead.update(node.input)
    for node in graph.nodes:
        between = rule_name(node, graph) in _POOLS and node.input[0] in behind and node.output[0] in ahead
        if between and graph.dequantizer(node.input[0]) is None:
            yield node, f"{named(node)} runs in float between quantized layers; quantize its input '{node.input[0]}'"


def _behind(graph: QuantizedGraph, starts: Callable[[onnx.NodeProto], bool]) -> set[str]:
    """Return the tensors that come of a node for which `starts` holds."""
    found: set[str] = set()
    for node in graph.nodes:
        if starts(node) or not found.isdisjoint(node.input):
            found.update(node.output)
    return found


def few_channels(graph: QuantizedGraph) -> Faults:
    """A quantized convolution with fewer than 16 channels in or out; those of the image do not count."""
    for layer, channels in _widths(graph):
        few = {side: count for side, count in channels.items() if count < FEW_CHANNELS}
        if few:
            yield (
                layer,
                f"{named(layer)} has {_counted(few)}, too few to gain from INT8 on TensorRT; widen it or keep it float",
            )


def odd_channels(graph: QuantizedGraph) -> Faults:
    """A quantized convolution with enough channels that are not a multiple of 8."""
    for layer, channels in _widths(graph):
        odd = {side: count for side, count in channels.items() if count % CHANNEL_MULTIPLE}
        if odd and min(channels.values()) >= FEW_CHANNELS:
            yield layer, f"{named(layer)} has {_counted(odd)}, slow in INT8 on TensorRT; round to a multiple of 8"


def _counted(channels: dict[str, int]) -> str:
    return " and ".join(f"{count} {side} channels" for side, count in channels.items())


def _widths(graph: QuantizedGraph) -> Iterator[tuple[onnx.NodeProto, dict[str, int]]]:
    """Yield every convolution in INT8 with its channels over all groups; the first layer's are the output's alone."""
    behind = _behind(graph, lambda node: node.op_type in LAYERS)
    for layer in graph.layers:
        shape = graph.shape(layer.input[1])
        if layer.op_type not in CONVOLUTIONS or not graph.runs_in_int8(layer) or not shape or 0 in shape[:2]:
            continue
        own, grouped = shape[0], shape[1] * attribute(layer, "group", 1)
        inputs, outputs = (grouped, own) if layer.op_type == "Conv" else (own, grouped)
        channels = {"input": inputs, "output": outputs}
        if layer.input[0] not in behind:
            del channels["input"]
        yield layer, channels
