"""What precision ONNX Runtime runs each layer of a graph in, told by the graph as its optimizer rewrites it.

A Q/DQ pair around a layer does nothing by itself: the layer is INT8 where the optimizer replaced it by an integer
operator. The rewritten nodes have lost their names, so a layer is recognised by its weights, or by the tensors that
come after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from engines.macs import Layer

if TYPE_CHECKING:
    import onnx

_INTEGER = {"QLinearConv", "ConvInteger", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat"}
_FLOAT = {"Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
_LAYERS = _INTEGER | _FLOAT
_FAR = float("inf")


def optimized_precisions(
    graph: onnx.GraphProto, optimized: onnx.GraphProto, layers: Sequence[Layer]
) -> Mapping[str, str]:
    """Return the precision of every layer that is found again, by the layer's name.

    Args:
        graph: the graph that the session was given.
        optimized: the same graph as the session rewrote it, its tensors in their own layout.
        layers: those of `graph`.
    """
    before, after = _Links(graph), _Links(optimized)
    names = {name: name for name in before.made_by}  # what the rewritten tensors were called, where that is known
    precisions: dict[str, str] = {}
    rest: list[onnx.NodeProto] = []

    def recognise(layer: Layer, node: onnx.NodeProto) -> None:
        precisions[layer.name] = "int8" if node.op_type in _INTEGER else "fp32"
        names[node.output[0]] = layer.output

    owners: dict[str, list[Layer]] = {}
    for layer in layers:
        for weight in set(before.weights(before.made_by[layer.output])):
            owners.setdefault(weight, []).append(layer)
    for node in optimized.node:
        if node.op_type in _LAYERS:
            owner = next((owners[weight] for weight in after.weights(node) if weight in owners), [])
            if len(owner) == 1:  # a weight that two layers share tells nothing
                recognise(owner[0], node)
            else:
                rest.append(node)
    for node in reversed(rest):  # a layer may be recognised by the one that comes after it
        ends = list(after.ends(node.output[0], names))
        steps = {layer.name: before.steps(layer.output, ends) for layer in layers if layer.name not in precisions}
        nearest = min(layers, key=lambda layer: steps.get(layer.name, _FAR))
        if steps.get(nearest.name, _FAR) < _FAR:
            recognise(nearest, node)
    return precisions


class _Links:
    """Who makes and who reads each tensor of a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._initial = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
        self.made_by: dict[str, onnx.NodeProto] = {output: node for node in graph.node for output in node.output}
        self._read_by: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._read_by.setdefault(name, []).append(node)

    def weights(self, node: onnx.NodeProto) -> Iterator[str]:
        """Yield the matrices that a node reads from the initializers, itself or dequantized: no bias and no scale."""
        for name in node.input:
            maker = self.made_by.get(name)
            sources = [name] if maker is None else maker.input if set(maker.input) <= self._initial.keys() else []
            yield from (source for source in sources if self._initial.get(source, 0) > 1)

    def ends(self, tensor: str, names: Mapping[str, str]) -> Iterator[str]:
        """Yield the original names of the first tensors from this one on that have one."""
        if tensor in names:
            yield names[tensor]
            return
        for node in self._read_by.get(tensor, ()):
            for output in node.output:
                if node.op_type not in _LAYERS:
                    yield from self.ends(output, names)
                elif output in names:
                    yield names[output]

    def steps(self, tensor: str, ends: Collection[str]) -> float:
        """Return how many tensors lie between this one and the nearest of `ends`, looking no further than a layer."""
        order = [tensor]
        seen = {tensor}
        beyond: set[str] = set()
        for step, name in enumerate(order):
            if name in ends:
                return step
            for node in () if name in beyond else self._read_by.get(name, ()):
                fresh = [output for output in node.output if output not in seen]
                order += fresh
                seen.update(fresh)
                beyond.update(fresh if node.op_type in _LAYERS else ())
        return _FAR
