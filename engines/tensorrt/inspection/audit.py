"""What precision a TensorRT engine runs each layer of its graph in, told by its inspector."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from engines.macs import Layer
from engines.tensorrt.inspection.layers import UNKNOWN, EngineLayer

# Kinds, and kernels: Myelin names its own after what they do, a convolution Corr and a linear layer Fc.
_MULTIPLYING = re.compile(r"conv|correlation|gemm|matmul|matrix|fullyconnected|mha|_fc|_corr", re.IGNORECASE)

_FLOATS = {"fp32", "fp16", "bf16"}


def layer_precisions(layers: Sequence[EngineLayer], graph_layers: Sequence[Layer]) -> Mapping[str, str]:
    """Return the precision of every layer of the graph that is found in an engine, by the layer's name.

    A node may be named by several layers of the engine: the one that multiplies counts, and where several that
    multiply disagree, nothing is claimed. Inside a closed region a quantized node may run in INT8 or in float: it is
    left out, and so is every node of a region whose own type is no float.

    Args:
        layers: those of the engine, from `engine_layers`.
        graph_layers: those of the graph that it was built from, in the graph's order.
    """
    names = {name: layer for layer in graph_layers for name in _names(layer)}
    multiplied, touched, enclosed = _Claims(), _Claims(), _Claims()
    for layer in layers:
        if layer.is_reformat or layer.precision == UNKNOWN:
            continue
        nodes = [names[node] for node in layer.onnx_nodes if node in names]
        if layer.is_region:
            nodes = [node for node in _inside(layer.onnx_nodes, nodes, graph_layers) if not node.quantized]
        if _multiplies(layer):
            multiplied.add(nodes, layer.precision)
        elif layer.precision in _FLOATS:  # that something reads INT8 does not say that it multiplies in it
            (enclosed if layer.is_region else touched).add(nodes, layer.precision)
    claims = {**enclosed.found, **touched.found, **multiplied.found}
    return {name: next(iter(precisions)) for name, precisions in claims.items() if len(precisions) == 1}


class _Claims:
    """The precisions that an engine's layers claim for nodes of the graph, by the node's name."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}

    def add(self, nodes: Iterable[Layer], precision: str) -> None:
        for node in nodes:
            self.found.setdefault(node.name, set()).add(precision)


def _names(layer: Layer) -> tuple[str, ...]:
    """Return the names that a node can have in an engine; TensorRT's parser calls a nameless one after its output."""
    return (layer.name, f"node_of_{layer.output}")


def _inside(ends: Sequence[str], known: Sequence[Layer], graph_layers: Sequence[Layer]) -> Iterable[Layer]:
    """Return the graph's layers in a region: those that it lists; where it names its two ends, all between them too."""
    if len(known) == len(ends) == 2:
        first, last = sorted(graph_layers.index(layer) for layer in known)
        return graph_layers[first : last + 1]
    return known


def _multiplies(layer: EngineLayer) -> bool:
    return any(_MULTIPLYING.search(text) for text in (layer.kind, layer.tactic or ""))
