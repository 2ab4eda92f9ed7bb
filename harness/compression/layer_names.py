"""Names in an exported graph: what the model, a ranking of layers and quantize.keep_float call a layer, it does too.

The exporter names nodes after operators ("node_conv2d_1"), which a reader of a lint or of an audit cannot find in the
model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from calibration.rules import RULES, Operation
from harness.compression.operations import operations

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import fx


def name_layers(
    graph: onnx.ModelProto, program: torch.onnx.ONNXProgram, layers: Iterable[Operation]
) -> onnx.ModelProto:
    """Give nodes of an exported graph the names of the operations that they are; return the graph, changed in place.

    Of a linear layer over tokens, written as a product and a sum, the product has the name. Operators that the rule
    table does not know keep the names that they have.

    Args:
        graph: of which simplifiers kept the tensors that the program names.
        program: what the exporter gave, before simplification.
        layers: the model's operations in the order of execution, as the program has them too.
    """
    assert program.exported_program is not None
    source = program.exported_program.module().graph
    wanted = _by_kind(layers)
    nodes = operations(source)
    made = _by_kind(nodes.values())
    (output,) = graph.graph.output
    last = _last(source)
    makers = {tensor: node for node in graph.graph.node for tensor in node.output}
    tensors = {operation.name: output.name if node.name == last else node.name for node, operation in nodes.items()}
    names: dict[str, str] = {}  # by the node's first output
    for kind, found in made.items():
        if len(found) == len(wanted[kind]):  # the exporter takes some operators apart: then order says nothing
            for layer, operation in zip(wanted[kind], found, strict=True):
                if (node := _node(tensors[operation.name], kind, makers)) is not None:
                    names[node.output[0]] = layer.name
    return _renamed(graph, names)


def _by_kind(given: Iterable[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for operation in given:
        if operation.kind in RULES:
            found[operation.kind].append(operation)
    return found


def _last(program: fx.Graph) -> str:
    """Return the node that gives the scores, whose tensor has another name in the graph."""
    (scores,) = next(node.args[0] for node in program.nodes if node.op == "output")
    return str(scores.name)


def _node(tensor: str, kind: str, makers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    node = makers.get(tensor)
    if node is None or kind != "Gemm" or node.op_type != "Add":
        return node
    products = (makers.get(each) for each in node.input)
    return next((each for each in products if each is not None and each.op_type == "MatMul"), None)


def _renamed(graph: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    taken = set(names.values())
    for node in graph.graph.node:
        if node.output[0] in names:
            node.name = names[node.output[0]]
        else:
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
    return graph
