"""Q/DQ in ONNX: the operator's translation for the exporter, and weights stored as the integers they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.graphs.constants import drop_unused
from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

DEPLOYED_BITS = 8


def translations() -> dict[Any, Callable[..., Any]]:
    """Return the exporter's translation of the quantize-dequantize operator.

    For `torch.onnx.export(..., dynamo=True, custom_translation_table=translations())`.
    """
    import torch
    from onnx import numpy_helper
    from onnxscript import opset18

    import calibration.fake_quantize  # noqa: F401  (registers the operator)

    op: Any = opset18  # its annotations know only tensors, and the exporter passes symbolic values

    def quantize_dequantize(x: Any, scale: Any, axis: int, bits: int) -> Any:
        if bits != DEPLOYED_BITS:
            raise InputError(f"only {DEPLOYED_BITS} bits can be deployed, the model has quantizers of {bits} bits")
        zero_point = op.Constant(value=numpy_helper.from_array(np.zeros(tuple(scale.shape), np.int8)))
        along = {} if len(scale.shape) == 0 else {"axis": axis}
        quantized = op.QuantizeLinear(x, scale, zero_point, **along)
        return op.DequantizeLinear(quantized, scale, zero_point, **along)

    return {torch.ops.calibration.quantize_dequantize.default: quantize_dequantize}


def store_integer_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every QuantizeLinear of a constant by the int8 constant that it gives; DequantizeLinear stays.

    A Transpose behind such a DequantizeLinear (an exporter's linear layer on more than two dimensions) goes into the
    integers, so that runtimes find DequantizeLinear directly in front of what multiplies.

    Args:
        model: a graph whose weights are float initializers followed by Q/DQ. It is changed in place.

    Returns:
        The same graph: a quarter of the weights' bytes, the same function to the last bit.
    """
    from onnx import numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    for node in [node for node in quantizers if all(name in constants for name in node.input)]:
        weight, scale, *rest = (numpy_helper.to_array(constants[name]) for name in node.input)
        zero_point = rest[0] if rest else np.zeros(scale.shape, np.uint8)  # ONNX's default
        integers = _quantize(weight, scale, zero_point, _axis(node))
        graph.initializer.append(numpy_helper.from_array(integers, node.output[0]))
        graph.node.remove(node)
        _own_zero_point(graph, node.output[0], zero_point)
    _transpose_integers(graph)
    drop_unused(graph)
    return model


def _transpose_integers(graph: onnx.GraphProto) -> None:
    """Replace, in place, every Transpose of a dequantized constant by DequantizeLinear of the transposed constant."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    dequantizers = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        dequantizer = dequantizers.get(node.input[0]) if node.op_type == "Transpose" else None
        if dequantizer is None or not all(name in constants for name in dequantizer.input):
            continue
        integers, scale, *rest = (numpy_helper.to_array(constants[name]) for name in dequantizer.input)
        order = next((list(entry.ints) for entry in node.attribute if entry.name == "perm"), None)
        order = list(range(integers.ndim))[::-1] if order is None else order
        output = node.output[0]
        made = {f"{output}_integers": np.ascontiguousarray(integers.transpose(order))}
        if rest:
            made[f"{output}_zero_point"] = rest[0]
        for name, value in made.items():
            constants[name] = numpy_helper.from_array(value, name)
            graph.initializer.append(constants[name])
        first, *others = made
        along: dict[str, Any] = {"axis": order.index(_axis(dequantizer) % integers.ndim)} if scale.ndim else {}
        ends = [first, dequantizer.input[1], *others]
        node.CopyFrom(helper.make_node("DequantizeLinear", ends, [output], node.name, **along))
        dequantizers[output] = node


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _own_zero_point(graph: onnx.GraphProto, integers: str, zero_point: Any) -> None:
    """Give every DequantizeLinear of a constant a zero point that no other node reads.

    Simplifiers merge equal constants. Where a convolution and a linear layer of equal width then share one, OpenVINO
    runs both, and others of that width, in FP32 (seen with 2026.4).
    """
    from onnx import numpy_helper

    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] == integers and len(node.input) > 2:
            name = f"{node.output[0]}_zero_point"
            graph.initializer.append(numpy_helper.from_array(zero_point.copy(), name))
            node.input[2] = name


def _quantize(weight: Any, scale: Any, zero_point: Any, axis: int) -> Any:
    shape = [1] * weight.ndim
    if scale.ndim:
        shape[axis] = -1
    limits = np.iinfo(zero_point.dtype)
    steps = np.rint(weight / scale.reshape(shape)) + zero_point.reshape(shape).astype(np.float32)
    return np.clip(steps, limits.min, limits.max).astype(zero_point.dtype)
