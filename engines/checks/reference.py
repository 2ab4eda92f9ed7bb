"""What a graph says, node by node as it is written, and how much of that hangs on its roundings.

A value that lies at the edge between two quantization steps falls to either side with the last bit of a sum, which
depends on the order of its terms. In a deep network one such step moves others, until two right engines differ by about
as much as the quantized graph differs from itself without rounding. How much that is varies from 1 % to beyond 20 %
between networks, so it is measured on the graph at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from engines.checks.error import relative_error
from engines.engine import Array
from engines.onnxruntime.session import session

if TYPE_CHECKING:
    import onnx

_BATCH = 16  # images of one run: large networks hold every tensor of it at once


@dataclass(frozen=True)
class Reference:
    """What a graph gives for some images.

    Attributes:
        values: float32, shape (images, …).
        rounding: `relative_error` between these and what the graph gives where it clips its activations to their ranges
            as before but does not round them; 0 for a graph that rounds none.
    """

    values: Array
    rounding: float


def reference(graph: Path, images: Array) -> Reference:
    """Run a classifier as it is written.

    Args:
        graph: ONNX file with one input, the images, and one output, the scores.
        images: float32, shape (n, channels, height, width), in [0, 1].

    Raises:
        InputError: ONNX Runtime refuses the graph.
    """
    import onnx

    model = onnx.load(str(graph))
    return references(model, [model.graph.output[0].name], images)[0]


def references(model: onnx.ModelProto, tensors: Sequence[str], images: Array) -> list[Reference]:
    """Return what a graph's tensors hold for images, float32 each.

    Args:
        model: with one input that is no initializer.
        tensors: of the graph, each with the batch as its first dimension.
        images: float32, shape (n, channels, height, width).

    Raises:
        InputError: ONNX Runtime refuses the graph.
    """
    written = _run(model, tensors, images)
    unrounded = without_rounding(model)
    if unrounded is None:
        return [Reference(values, 0.0) for values in written]
    exact = _run(unrounded, tensors, images)
    return [Reference(values, relative_error(other, values)) for values, other in zip(written, exact, strict=True)]


def tensor_shapes(model: onnx.ModelProto, images: Array) -> Mapping[str, tuple[int, ...]]:
    """Return the shape that every float tensor of a graph has for these images.

    Args:
        model: with one input that is no initializer.
        images: float32, shape (n, channels, height, width); all tensors are held at once, so few.

    Raises:
        InputError: ONNX Runtime refuses the graph.
    """
    names = [name for node in model.graph.node for name in node.output if name]
    running = session(_exposing(model, names), optimise=False)
    values = running.run(names, {running.get_inputs()[0].name: images})
    shapes = {name: value for name, value in zip(names, values, strict=True) if isinstance(value, np.ndarray)}
    return {name: value.shape for name, value in shapes.items() if np.issubdtype(value.dtype, np.floating)}


def without_rounding(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return the graph with a Clip in the place of each Q/DQ pair of an activation; None where it has no such pair.

    Pairs with a scale or a zero point a channel, or one that is no initializer, stay as they are.
    """
    import onnx
    from onnx import helper, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    quantizes = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    replaced = 0
    for position, node in enumerate(graph.node):
        quantize = quantizes.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantize is None or quantize.input[0] in stored:
            continue
        ends = [numpy_helper.to_array(stored[name]) for name in quantize.input[1:] if name in stored]
        if len(ends) != len(quantize.input) - 1 or any(end.size != 1 for end in ends):
            continue
        bounds = [f"{node.output[0]}_{end}_without_rounding" for end in ("low", "high")]
        for name, value in zip(bounds, _range(*ends), strict=True):
            graph.initializer.append(numpy_helper.from_array(value, name))
        graph.node[position].CopyFrom(helper.make_node("Clip", [quantize.input[0], *bounds], [node.output[0]]))
        replaced += 1
    return made if replaced else None


def _range(scale: npt.NDArray[Any], zero: npt.NDArray[Any] | None = None) -> tuple[Any, Any]:
    """Return the smallest and the largest value that a pair gives."""
    zero = np.zeros((), np.uint8) if zero is None else zero
    kind = np.iinfo(zero.dtype)
    scale, at = scale.reshape(()), float(zero.reshape(()))
    return np.asarray((kind.min - at) * scale, scale.dtype), np.asarray((kind.max - at) * scale, scale.dtype)


def _run(model: onnx.ModelProto, tensors: Sequence[str], images: Array) -> list[Array]:
    """Run in batches of one size, so that a graph's size never multiplies with the number of images."""
    running = session(_exposing(model, tensors), optimise=False)
    shown = running.get_inputs()[0].name
    starts = range(0, len(images), _BATCH)
    try:
        parts = [running.run(list(tensors), {shown: images[start : start + _BATCH]}) for start in starts]
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime fails while it runs the graph: {str(error).splitlines()[0]}") from error
    return [np.concatenate([np.asarray(part[place], np.float32) for part in parts]) for place in range(len(tensors))]


def _exposing(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    given = {value.name for value in made.graph.output}
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in given)
    return made
