"""What of an ONNX graph is the same for every image, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def constant_tensors(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the names of initializers, constants and whatever is computed from these alone."""
    constant = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in _RANDOM and all(name in constant for name in reads(node)):
            constant.update(name for name in node.output if name)
    return frozenset(constant)


def constant_values(model: onnx.ModelProto, tensors: Iterable[str]) -> Mapping[str, Array]:
    """Return the values of constant tensors by their names.

    Args:
        model: with its initializers in it, not in files beside it.
        tensors: names among `constant_tensors`.
    """
    import onnx
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    wanted = dict.fromkeys(tensors)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in wanted}
    computed = [name for name in wanted if name not in values]
    if not computed:
        return values
    needed, nodes = set(computed), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(reads(node))
    graph = helper.make_graph(
        nodes[::-1],
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in computed],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=model.opset_import))
    return values | dict(zip(computed, evaluator.run(computed, {}), strict=True))


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node needs from its graph: its inputs and what its subgraphs take from outside."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                yield from (name for name in reads(inner) if name not in own)
                own.update(inner.output)
            yield from (value.name for value in graph.output if value.name not in own)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove, in place, the nodes and initializers that no output of the graph depends on."""
    used = {value.name for value in graph.output}
    for node in list(reversed(graph.node)):
        if used.intersection(node.output):
            used.update(reads(node))
        else:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
