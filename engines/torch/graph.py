"""What must hold of an ONNX model before torch may run it; everything refused is refused here, before any work."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

    from engines.torch.operators import Operator

_FLOATING = frozenset({"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"})
_QUANTIZED = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)


@dataclass(frozen=True)
class Node:
    """One node that can run: its function and what it is called with; an empty name is a tensor left out."""

    name: str
    function: Operator
    inputs: tuple[str, ...]
    attributes: dict[str, Any]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class FloatGraph:
    """A graph from one floating input to one floating output, in an order that can be run."""

    image: str
    scores: str
    initializers: tuple[onnx.TensorProto, ...]
    nodes: tuple[Node, ...]


def read_graph(source: onnx.ModelProto | Path | str) -> FloatGraph:
    """Check a model and return what torch needs of it.

    Raises:
        InputError: the file is no ONNX model, or the graph is not one that torch runs; the sentence names the node.
    """
    model = _model(source)
    graph = model.graph
    opset = _opset(model)
    constants = {tensor.name for tensor in graph.initializer}
    images = [value for value in graph.input if value.name not in constants]
    image, scores = _one_float(images, "input"), _one_float(graph.output, "output")
    if graph.sparse_initializer:
        raise InputError("the torch backend reads no sparse weights: use one of the other backends")
    consumed = {name for node in graph.node for name in node.input} | {scores}
    nodes = tuple(_node(node, opset, consumed) for node in graph.node)
    _check_order(nodes, constants | {image}, scores)
    return FloatGraph(image, scores, tuple(graph.initializer), nodes)


def _model(source: onnx.ModelProto | Path | str) -> onnx.ModelProto:
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if isinstance(source, onnx.ModelProto):
        model = source
    else:
        try:
            model = onnx.load(source)
        except (OSError, DecodeError, onnx.checker.ValidationError) as error:
            raise InputError(f"{source} cannot be read as an ONNX model: {error}") from error
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _opset(model: onnx.ModelProto) -> int:
    from engines.torch.operators import OLDEST_OPSET

    version = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if version < OLDEST_OPSET:
        raise InputError(
            f"the torch backend reads ONNX opset {OLDEST_OPSET} or newer and this graph has {version}: export it again"
        )
    return version


def _one_float(values: Sequence[onnx.ValueInfoProto], role: str) -> str:
    """Return the name of the only graph input or output."""
    import onnx

    if len(values) != 1:
        names = ", ".join(value.name for value in values) or "none"
        raise InputError(f"the torch backend takes a graph with one {role}, and this one has {len(values)} ({names})")
    kind = onnx.TensorProto.DataType.Name(values[0].type.tensor_type.elem_type)
    if kind not in _FLOATING:
        raise InputError(
            f"the torch backend takes a graph with a floating {role}, and {values[0].name!r} is {kind}: "
            "use one of the other backends"
        )
    return str(values[0].name)


def _node(proto: onnx.NodeProto, opset: int, consumed: set[str]) -> Node:
    from engines.torch.operators import operator_for

    name = proto.name or next(iter(proto.output), "")
    if proto.op_type in _QUANTIZED:
        raise InputError(
            f"the torch backend runs float graphs only and node {name!r} is {proto.op_type}, which torch would "
            "simulate and time as if it were deployed: run INT8 with openvino, onnxruntime or tensorrt"
        )
    standard = proto.domain in ("", "ai.onnx")
    function = operator_for(proto.op_type, opset) if standard else None
    if function is None:
        raise _refused(proto.op_type if standard else f"{proto.domain}.{proto.op_type}", name)
    node = Node(name, function, tuple(proto.input), _attributes(proto), tuple(proto.output))
    _check_call(proto.op_type, node, consumed)
    return node


def _attributes(proto: onnx.NodeProto) -> dict[str, Any]:
    """Return attributes as Python values, strings decoded; a tensor stays a `TensorProto`."""
    from onnx import helper

    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in proto.attribute}
    decoded = {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
    if proto.op_type == "Split":
        decoded["num_outputs"] = len(proto.output)
    return decoded


def _check_call(op_type: str, node: Node, consumed: set[str]) -> None:
    """Refuse what the function of an operator does not implement: an attribute, its value, a second output."""
    from engines.torch.operators import ATTRIBUTE_VALUES

    try:
        inspect.signature(node.function).bind(*node.inputs, **node.attributes)
    except TypeError as error:
        raise _refused(op_type, node.name, str(error)) from error
    for attribute, value in node.attributes.items():
        allowed = ATTRIBUTE_VALUES.get((op_type, attribute))
        if allowed is not None and value not in allowed:
            raise _refused(op_type, node.name, f"{attribute} is {value!r}")
    if op_type != "Split" and any(output in consumed for output in node.outputs[1:] if output):
        raise _refused(op_type, node.name, "more than its first output is used")


def _refused(operator: str, name: str, why: str = "") -> InputError:
    reason = f" ({why})" if why else ""
    return InputError(
        f"the torch backend cannot run operator {operator} of node {name!r}{reason}: use one of the other backends"
    )


def _check_order(nodes: tuple[Node, ...], known: set[str], scores: str) -> None:
    known = set(known)
    for node in nodes:
        for name in node.inputs:
            if name and name not in known:
                raise InputError(
                    f"the ONNX graph is broken: node {node.name!r} reads {name!r}, which nothing before it gives; "
                    "export it again"
                )
        known.update(node.outputs)
    if scores not in known:
        raise InputError(f"the ONNX graph is broken: nothing gives its output {scores!r}; export it again")
