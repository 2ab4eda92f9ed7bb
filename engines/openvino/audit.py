"""What precision OpenVINO's CPU plugin runs each layer of a graph in, told by its model as it is compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines.macs import Layer

_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}

_LAYERS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
_FUSED = frozenset({"Subgraph", "MHA", "ScaledDotProductAttention"})
"""Nodes into which the plugin fuses whole chains, products of activations among them."""


def runtime_precisions(compiled: Any, layers: Sequence[Layer]) -> Mapping[str, str]:
    """Return the precision of every layer that is found in a compiled model, by the layer's name.

    The plugin keeps the names of the operations that it made a node from; they come from the ONNX nodes, with what its
    transformations append after a slash: `conv1/WithoutBiases`.

    Args:
        compiled: an `openvino.CompiledModel` of the CPU plugin.
        layers: those of the graph.
    """
    names = {name: layer for layer in layers for name in (layer.output, layer.name)}
    found: dict[str, str] = {}
    fused: dict[str, str] = {}
    for operation in compiled.get_runtime_model().get_ops():
        info = {key: str(value.astype(str)) for key, value in operation.get_rt_info().items()}
        kind, precision = info.get("layerType", ""), info.get("runtimePrecision", "")
        for layer in _origins(info.get("originalLayersNames", ""), names):
            if kind in _LAYERS:
                found.setdefault(layer.name, _PRECISIONS.get(precision, precision))
            elif kind in _FUSED and layer.operator == "MatMul":
                # Such a node carries the precision of its inputs: what is inside is INT8 only where it is quantized.
                inside = _PRECISIONS.get(precision, precision)
                fused.setdefault(layer.name, "fp32" if inside == "int8" and not layer.quantized else inside)
    return {**fused, **found}


def _origins(originals: str, names: Mapping[str, Layer]) -> Iterator[Layer]:
    """Yield the layers that a node was made from; a name may have slashes of its own, so the longest that fits wins."""
    for original in originals.split(","):
        name = original
        while name and name not in names:
            name = name.rpartition("/")[0]
        if name:
            yield names[name]
