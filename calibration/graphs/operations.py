"""An ONNX graph as the neutral list of operations that `calibration.rules` places Q/DQ on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from calibration.graphs.constants import constant_tensors, constant_values
from calibration.rules import Operand, Operation

if TYPE_CHECKING:
    import onnx

_Types = Mapping[str, Any]  # name to onnx.TypeProto.Tensor


def operations(model: onnx.ModelProto) -> tuple[Operation, ...]:
    """Return a graph's nodes in the order in which they run.

    Operators that the rule table knows under another name get that name, and where it does not hold for a node (an
    operator of another domain, numbers that are not float32, a product with a vector) the kind says so and is none of
    the table's.

    Args:
        model: a checked graph, with its initializers in it.
    """
    types = _types(model)
    constants = constant_tensors(model.graph)
    return tuple(
        Operation(
            name,
            _kind(node, types, model, constants),
            tuple(Operand(tensor, not tensor or tensor in constants) for tensor in node.input),
        )
        for name, node in zip(node_names(model.graph), model.graph.node, strict=True)
    )


def node_names(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Return a name for every node, unlike any other: its own, or the first output's where it has none of its own."""
    names: dict[str, None] = {}
    given = [node.name for node in graph.node]
    for node in graph.node:
        name = node.name if node.name and node.name not in names else next(filter(None, node.output), node.op_type)
        while name in names or (name != node.name and name in given):
            name += "_"
        names[name] = None
    return tuple(names)


def _types(model: onnx.ModelProto) -> _Types:
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type for value in values} | {
        tensor.name: _type_of(tensor) for tensor in graph.initializer
    }


def _type_of(tensor: onnx.TensorProto) -> Any:
    from onnx import helper

    return helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type


def _kind(node: onnx.NodeProto, types: _Types, model: onnx.ModelProto, constants: frozenset[str]) -> str:
    if node.domain not in ("", "ai.onnx"):
        return f"{node.domain}.{node.op_type}"
    if foreign := _other_type(node, types):
        return f"{node.op_type} of {foreign}"
    if node.op_type == "Gemm" and not _attribute(node, "transB", 0):
        # Without transB its weight lies (in, out), as MatMul's does. Its other attributes (alpha, beta, transA) move no
        # output channel: an activation has one scale whichever way it lies, and factors come after dequantization.
        return "MatMul"
    if node.op_type == "MatMul" and _rank(types, node.input[1]) == 1:
        return "MatMul by a vector"  # it has no output channels
    pixels = node.op_type == "ReduceMean" and _over_pixels(node, types, model, constants)
    pair = node.op_type == "Sum" and len(node.input) == 2
    return "GlobalAveragePool" if pixels else "Add" if pair else node.op_type


def _other_type(node: onnx.NodeProto, types: _Types) -> str | None:
    """Return the name of the number type that a node computes in, where it is not float32: shapes are int64, say."""
    import onnx

    kinds = [types[name].elem_type for name in node.input[:2] if name in types]
    kind = next(filter(None, kinds), onnx.TensorProto.FLOAT)  # 0 is unknown; the two agree where both are factors
    return None if kind == onnx.TensorProto.FLOAT else onnx.TensorProto.DataType.Name(kind)


def _over_pixels(node: onnx.NodeProto, types: _Types, model: onnx.ModelProto, constants: frozenset[str]) -> bool:
    if _rank(types, node.input[0]) != 4:
        return False
    axes: Sequence[int] = _attribute(node, "axes", ())  # before opset 18
    if len(node.input) > 1 and node.input[1] in constants:
        axes = constant_values(model, [node.input[1]])[node.input[1]].tolist()
    return sorted(axis % 4 for axis in axes) == [2, 3]


def _rank(types: _Types, tensor: str) -> int | None:
    found = types.get(tensor)
    return len(found.shape.dim) if found is not None and found.HasField("shape") else None


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)
