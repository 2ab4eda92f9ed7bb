"""A graph cut off at one of its tensors, as a classifier of its own; and the tensors where a cut tells most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

_STEPS = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast"})  # between the same values in two types


@dataclass(frozen=True)
class Cut:
    """A tensor where a graph can be cut.

    Attributes:
        tensor: its name.
        before: the cuts that it is computed from, near and far.
        nodes: what lies between those and it, in the order of the graph.
    """

    tensor: str
    before: frozenset[str]
    nodes: tuple[onnx.NodeProto, ...]

    @property
    def node(self) -> onnx.NodeProto:
        """What computes it: the layer among its nodes, or the last node where there is none, or more than one."""
        layers = [node for node in self.nodes if node.op_type in LAYERS]
        return layers[0] if len(layers) == 1 else self.nodes[-1]


def cuts(model: onnx.ModelProto, comparable: frozenset[str]) -> Mapping[str, Cut]:
    """Return where a graph can be cut so that what a runtime fuses with a layer stays with it, in topological order.

    These are the tensors that a layer or a quantizer reads, those that several nodes read or that a node reads beside
    others (the branches before an Add or a Concat), and the output.

    Args:
        model: with its nodes in topological order.
        comparable: tensors to choose from; the output is always one.
    """
    output = model.graph.output[0].name
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(reads(node)):
            readers.setdefault(name, []).append(node)
    joined = _joined(model)
    before: dict[str, frozenset[str]] = {}
    nodes: dict[str, dict[int, onnx.NodeProto]] = {}
    found: dict[str, Cut] = {}
    for position, node in enumerate(model.graph.node):
        behind: frozenset[str] = frozenset()
        between = {position: node}
        for name in reads(node):
            behind |= before.get(name, frozenset())
            between |= {} if name in found else nodes.get(name, {})
        for name in node.output:
            before[name], nodes[name] = behind, between
            if name == output or (name in comparable and _tells(node, name in joined, readers.get(name, []))):
                found[name] = Cut(name, behind, tuple(between[place] for place in sorted(between)))
                before[name] = behind | {name}
    return found


def _joined(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that a node reads beside others that depend on the images."""
    stored = {each.name for each in model.graph.initializer}
    varying = {value.name for value in model.graph.input if value.name not in stored}
    joined: set[str] = set()
    for node in model.graph.node:
        read = varying.intersection(reads(node))
        if read:
            varying.update(node.output)
        if len(read) > 1:
            joined |= read
    return joined


def _tells(maker: onnx.NodeProto, joined: bool, readers: list[onnx.NodeProto]) -> bool:
    if maker.op_type in _STEPS:
        return False
    return joined or len(readers) > 1 or any(node.op_type in LAYERS or node.op_type in _STEPS for node in readers)


def prefix(model: onnx.ModelProto, tensor: str, features: int) -> onnx.ModelProto:
    """Return the graph up to a tensor, whose one output is that tensor in float32, flattened to (batch, features).

    Args:
        model: a classifier, its nodes in topological order.
        tensor: computed by the graph, with the batch as its first dimension.
        features: its other dimensions, multiplied.
    """
    import onnx
    from onnx import TensorProto, helper

    needed, kept = {tensor}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(reads(node))
    stored = [each for each in model.graph.initializer if each.name in needed]
    taken = {name for node in kept for name in (*node.input, *node.output)}
    float32, flat = (_free(f"{tensor}_{what}", taken) for what in ("float32", "flat"))
    ends = [
        helper.make_node("Cast", [tensor], [float32], float32, to=TensorProto.FLOAT),
        helper.make_node("Flatten", [float32], [flat], flat, axis=1),
    ]
    names = {each.name for each in model.graph.initializer}
    images = [value for value in model.graph.input if value.name not in names]
    dim = images[0].type.tensor_type.shape.dim[0]
    shape = [dim.dim_param or "batch", features]
    graph = helper.make_graph(
        [*reversed(kept), *ends],
        "prefix",
        images,
        [helper.make_tensor_value_info(flat, TensorProto.FLOAT, shape)],
        stored,
    )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.CopyFrom(graph)
    return made


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node reads, and those that its subgraphs may read."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from reads(inner)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
