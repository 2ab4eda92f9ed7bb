"""What a user's ONNX graph must not be, each with what to export instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

_CHANNELS = (1, 3, 4)
_MULTIPLYING = frozenset(
    {"BatchNormalization", "Conv", "ConvTranspose", "Div", "Gemm", "LayerNormalization", "MatMul", "Mul"}
)
_QUANTIZED = ("Quant", "QLinear", "QGemm", "QAttention", "QOrdered", "Integer", "NBits", "Bnb4")


def check_operators(path: Path, graph: onnx.GraphProto) -> None:
    """Raise InputError for a graph that is already quantized or has operators that ONNX does not know."""
    for node in _all_nodes(graph):
        called = node.name or next(filter(None, node.output), "")
        if any(part in node.op_type for part in _QUANTIZED):
            raise InputError(
                f"{path} is quantized already (node {called!r} is {node.op_type}): give the float32 graph it came from"
            )
        if node.domain not in ("", "ai.onnx"):
            raise InputError(
                f"{path} has the operator {node.op_type} of the domain {node.domain!r} (node {called!r}), which is not "
                "ONNX's own: export the model with standard operators"
            )


def check_numbers(path: Path, graph: onnx.GraphProto) -> None:
    """Raise InputError for weights that are not float32 or not finite, and for casts to half precision.

    Infinity is refused where it would be multiplied: masks and paddings may hold it.
    """
    from onnx import TensorProto, numpy_helper

    other: dict[int, str] = {
        TensorProto.FLOAT16: "float16",
        TensorProto.BFLOAT16: "bfloat16",
        TensorProto.DOUBLE: "float64",
    }
    multiplied = {name for node in _all_nodes(graph) if node.op_type in _MULTIPLYING for name in node.input}
    for name, tensor in _constants(graph):
        if tensor.data_type in other:
            raise InputError(f"{path}: the weight {name} is {other[tensor.data_type]}: export the model in float32")
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if np.isnan(values).any() or (name in multiplied and not np.isfinite(values).all()):
                raise InputError(f"{path}: the weight {name} holds NaN or infinity: train the model again, then export")
    for node in _all_nodes(graph):
        kinds = [attribute.i for attribute in node.attribute if node.op_type == "Cast" and attribute.name == "to"]
        if kinds and kinds[0] in other:
            raise InputError(f"{path} casts to {other[kinds[0]]} ({node.output[0]}): export the model in float32")


def the_input(path: Path, graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """Return the graph's only input that is no initializer; InputError where there are others."""
    constant = {tensor.name for tensor in graph.initializer}
    found = [value for value in graph.input if value.name not in constant]
    if len(found) != 1:
        names = ", ".join(value.name for value in found) or "none"
        raise InputError(f"{path} must have one input, the images, found {names}: export the classifier alone")
    shown: onnx.ValueInfoProto = found[0]
    return shown


def the_output(path: Path, graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """Return the graph's only output; InputError where there are others, or it is no float32 (batch, classes)."""
    from onnx import TensorProto

    if len(graph.output) != 1:
        names = ", ".join(value.name for value in graph.output) or "none"
        raise InputError(f"{path} must have one output, the scores, found {names}: export the scores alone")
    output: onnx.ValueInfoProto = graph.output[0]
    kind = output.type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(kind).lower()
        raise InputError(f"{path}: the output {output.name} is {name}: export the float32 scores of the classes")
    shape = output.type.tensor_type.shape
    if output.type.tensor_type.HasField("shape") and len(shape.dim) != 2:
        raise InputError(
            f"{path}: the output {output.name} has {len(shape.dim)} dimensions: export scores (batch, classes), "
            "flattened where they are not"
        )
    return output


def check_float_images(path: Path, shown: onnx.ValueInfoProto, image_shape: tuple[int, int, int] | None) -> None:
    """Raise InputError for an input that is not float32 (batch, channels, height, width)."""
    from onnx import TensorProto

    kind = shown.type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(kind.elem_type).lower()
        raise InputError(
            f"{path} takes {shown.name} as {name}: export it with an input of float32 pixels in [0, 1], scaling and "
            "normalisation inside"
        )
    dims = tuple(dim.dim_value for dim in kind.shape.dim)
    if len(dims) != 4:
        raise InputError(
            f"{path} takes {shown.name} with {len(dims)} dimensions: export it with one input (batch, channels, "
            "height, width)"
        )
    fits = image_shape is not None and all(own in (0, given) for own, given in zip(dims[1:], image_shape, strict=True))
    if dims[3] in _CHANNELS and dims[1] not in _CHANNELS and not fits:
        raise InputError(
            f"{path} seems to take {shown.name} as (batch, height, width, channels): export it with channels before "
            "height and width"
        )


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in _all_nodes(graph):
        for attribute in node.attribute:
            yield from ((tensor.name, tensor) for tensor in attribute.g.initializer)
            if node.op_type == "Constant" and attribute.name == "value":
                yield node.output[0], attribute.t
