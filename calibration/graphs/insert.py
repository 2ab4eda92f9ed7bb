"""Explicit Q/DQ in a float ONNX graph: at given places, with calibrated scales, no torch in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from calibration.graphs.constants import constant_values, reads
from calibration.graphs.operations import node_names
from calibration.graphs.qdq import DEPLOYED_BITS, store_integer_weights
from calibration.grid import SMALLEST_CHANNEL
from calibration.observers import SMALLEST_RANGE
from calibration.rules import Place, scale_names
from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

PER_CHANNEL_OPSET = 13
"""The first opset whose QuantizeLinear has a scale per channel."""


def insert(model: onnx.ModelProto, places: Sequence[Place], scales: Mapping[str, float]) -> onnx.ModelProto:
    """Return a copy of a float graph with a QuantizeLinear/DequantizeLinear pair at every place.

    An activation is quantized once for all its places, per tensor; who is not among the places still reads the float
    tensor. A weight is quantized per output channel by its own largest magnitudes and stored as int8.

    Args:
        model: float32, of opset 13 or later, with its initializers in it.
        places: what `calibration.rules.places` gives for this graph's `operations`.
        scales: of every activation among the places; positive and finite.

    Raises:
        InputError: the opset is too old, or an activation has no usable scale.
    """
    import onnx

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < PER_CHANNEL_OPSET:
        raise InputError(
            f"the graph has opset {opset} but a scale per channel needs {PER_CHANNEL_OPSET}: export it with a later one"
        )
    at = defaultdict(list)
    for place in places:
        at[place.operation].append(place)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    pairs = _Pairs(made.graph, _weights(model, places), scales)
    nodes: list[onnx.NodeProto] = []
    for name, node in zip(node_names(model.graph), model.graph.node, strict=True):
        consumer = onnx.NodeProto()
        consumer.CopyFrom(node)
        for place in at.pop(name, ()):
            consumer.input[place.position] = pairs.dequantized(place, nodes)
        nodes.append(consumer)
    if at:
        raise ValueError(f"no node of this graph has the name {', '.join(at)}")
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return store_integer_weights(made)


def weight_scales(model: onnx.ModelProto, places: Sequence[Place]) -> Mapping[str, tuple[Array, int]]:
    """Return the scales of the weights among the places, as `insert` takes them, for the calibration table.

    Returns:
        By the name that `scale_names` gives them: float32 scales, one an output channel, and the axis, not negative,
        that counts these.
    """
    weights = _weights(model, places)
    names = scale_names(places, {tensor: weight.ndim for tensor, weight in weights.items()})
    return {
        name: (_channel_scales(weights[tensor], axis), axis)
        for (tensor, axis), name in names.items()
        if axis is not None
    }


class _Pairs:
    """The Q/DQ pairs of a graph, one a tensor and axis.

    Args:
        graph: receives their constants.
        weights: values of the constants that are quantized.
        scales: of the activations.
    """

    def __init__(self, graph: onnx.GraphProto, weights: Mapping[str, Array], scales: Mapping[str, float]) -> None:
        self._graph = graph
        self._weights = weights
        self._scales = scales
        self._made: dict[tuple[str, int | None], str] = {}
        self._stored = {tensor.name for tensor in graph.initializer}
        self._taken = {name for node in graph.node for name in (*reads(node), *node.output)} | self._stored

    def dequantized(self, place: Place, nodes: list[onnx.NodeProto]) -> str:
        """Return the tensor that the place is to read; its pair is appended to `nodes` where there is none yet."""
        weight = None if place.axis is None else self._weights[place.tensor]
        axis = None if place.axis is None or weight is None else place.axis % weight.ndim
        if (place.tensor, axis) not in self._made:
            nodes += self._pair(place.tensor, weight, axis)
            self._made[place.tensor, axis] = nodes[-1].output[0]
        return self._made[place.tensor, axis]

    def _pair(self, tensor: str, weight: Array | None, axis: int | None) -> list[onnx.NodeProto]:
        from onnx import helper

        source = tensor
        along: dict[str, Any] = {} if axis is None else {"axis": axis}
        if weight is None or axis is None:
            scale = _activation_scale(tensor, self._scales)
        else:
            scale = _channel_scales(weight, axis)
            if tensor not in self._stored:  # computed by nodes, which nobody needs once its integers are stored
                source = self._constant(f"{tensor}_value", weight)
        ends = [
            self._constant(f"{tensor}_scale", scale),
            self._constant(f"{tensor}_zero_point", np.zeros(scale.shape, np.int8)),
        ]
        quantized, dequantized = self._free(f"{tensor}_quantized"), self._free(f"{tensor}_dequantized")
        return [
            helper.make_node("QuantizeLinear", [source, *ends], [quantized], quantized, **along),
            helper.make_node("DequantizeLinear", [quantized, *ends], [dequantized], dequantized, **along),
        ]

    def _constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        name = self._free(name)
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def _free(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _weights(model: onnx.ModelProto, places: Sequence[Place]) -> Mapping[str, Array]:
    return constant_values(model, [place.tensor for place in places if place.axis is not None])


def _channel_scales(weight: Array, axis: int) -> Array:
    """Return the scales, float32, that let every channel's largest magnitude be the largest integer.

    A channel of nothing, or of nearly nothing, gets a scale that is not as small; see `SMALLEST_CHANNEL`.
    """
    others = tuple(other for other in range(weight.ndim) if other != axis)
    peaks = np.abs(weight).max(axis=others)
    largest = peaks.max()
    peaks = (
        np.maximum(peaks, largest * np.float32(SMALLEST_CHANNEL)) if largest > SMALLEST_RANGE else np.ones_like(peaks)
    )
    return np.asarray(peaks / np.float32(2 ** (DEPLOYED_BITS - 1) - 1), np.float32)


def _activation_scale(tensor: str, scales: Mapping[str, float]) -> Array:
    scale = np.asarray(scales.get(tensor, np.nan), np.float32)
    if not 0.0 < scale < np.inf:
        raise InputError(
            f"the calibration table has {scales.get(tensor, 'no scale')} for the tensor {tensor}: calibrate this graph"
        )
    return scale
