"""An ONNX graph as the neutral list of operations that `calibration.rules` places Q/DQ on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from calibration.graphs.constants import constant_values
from calibration.graphs.wiring import Wiring, attribute, operand
from calibration.rules import PART_OF_ACTIVATION, Operand, Operation

if TYPE_CHECKING:
    import onnx

_POINTWISE = frozenset(
    {"Abs", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log"}
    | {"Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh"}
    | {"ThresholdedRelu", "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Where"}
)


def operations(model: onnx.ModelProto) -> tuple[Operation, ...]:
    """Return a graph's nodes in the order in which they run.

    Operators that the rule table knows under another name get that name, and where it does not hold for a node (an
    operator of another domain, numbers that are not float32, a product with a vector, a sum inside an activation
    function) the kind says so and is none of the table's.

    Args:
        model: a checked graph, with its initializers in it.
    """
    graph = Wiring(model)
    return tuple(
        Operation(name, _kind(node, graph), tuple(Operand(tensor, graph.constant(tensor)) for tensor in node.input))
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


def rule_name(node: onnx.NodeProto, graph: Wiring) -> str:
    """Return the operator of a float node under the name that the rule table has for what it does."""
    if node.op_type == "Gemm" and not attribute(node, "transB", 0):
        # Without transB its weight lies (in, out), as MatMul's does. Its other attributes (alpha, beta, transA) move no
        # output channel: an activation has one scale whichever way it lies, and factors come after dequantization.
        return "MatMul"
    if node.op_type == "MatMul" and len(graph.shape(node.input[1]) or ()) == 1:
        return "MatMul by a vector"  # it has no output channels
    if node.op_type == "ReduceMean" and _over_pixels(node, graph):
        return "GlobalAveragePool"
    if node.op_type == "Add" or (node.op_type == "Sum" and len(node.input) == 2):
        first, second = (_sources(tensor, graph) for tensor in node.input)
        return PART_OF_ACTIVATION if first == second else "Add"
    return node.op_type


def _sources(tensor: str, graph: Wiring) -> set[str]:
    """Return what a tensor is a pointwise function of."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [tensor]
    while waiting:
        each = waiting.pop()
        if each in seen or graph.constant(each):
            continue
        seen.add(each)
        node = graph.maker(each)
        if node is not None and node.op_type in _POINTWISE:
            waiting += node.input
        else:
            found.add(each)
    return found


def _kind(node: onnx.NodeProto, graph: Wiring) -> str:
    if node.domain not in ("", "ai.onnx"):
        return f"{node.domain}.{node.op_type}"
    if foreign := _other_type(node, graph):
        return f"{node.op_type} of {foreign}"
    return rule_name(node, graph)


def _other_type(node: onnx.NodeProto, graph: Wiring) -> str | None:
    """Return the name of the number type that a node computes in, where it is not float32: shapes are int64, say."""
    import onnx

    kinds = [graph.element_type(name) for name in node.input[:2]]
    kind = next(filter(None, kinds), onnx.TensorProto.FLOAT)  # 0 is unknown; the two agree where both are factors
    return None if kind == onnx.TensorProto.FLOAT else onnx.TensorProto.DataType.Name(kind)


def _over_pixels(node: onnx.NodeProto, graph: Wiring) -> bool:
    if len(graph.shape(node.input[0]) or ()) != 4:
        return False
    axes: Sequence[int] = attribute(node, "axes", ())  # an input since opset 18
    given = operand(node, 1)
    if given and graph.constant(given):
        axes = constant_values(graph.model, [given])[given].tolist()
    return sorted(axis % 4 for axis in axes) == [2, 3]
