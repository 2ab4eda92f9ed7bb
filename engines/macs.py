"""The layers of an ONNX graph that multiply, and the multiply-accumulates (MACs) that each of them takes an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

Shape = Sequence[int]

# What int8 passes through unharmed: a layer behind one of these still reads what was quantized before it.
_MOVES = {"Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Split", "Slice", "Gather"}
_PASSES = _MOVES | {"MaxPool", "Relu"}


@dataclass(frozen=True)
class Layer:
    """One node that multiplies: a convolution, a linear layer, a product of two activations.

    Attributes:
        name: the node's; its output's where it has none.
        operator: ONNX's name of what it does.
        macs: multiply-accumulates for one image.
        output: the tensor it makes.
        quantized: whether everything that it multiplies comes from a DequantizeLinear, so that it can run in INT8.
    """

    name: str
    operator: str
    macs: int
    output: str
    quantized: bool


def layer_macs(graph: Path) -> Mapping[str, int]:
    """Return the multiply-accumulates of one image by the layer's name; see `multiplying_layers`."""
    return {layer.name: layer.macs for layer in multiplying_layers(graph)}


def multiplying_layers(graph: Path) -> tuple[Layer, ...]:
    """Return the graph's Conv, ConvTranspose, Gemm and MatMul nodes, in the order of the graph.

    Biases and element-wise operations are not counted, nor are the bodies of control flow. Q/DQ change nothing.

    Args:
        graph: ONNX file whose first input has the batch size as its first dimension.

    Raises:
        InputError: a shape that counts does not follow from the input's.
    """
    import onnx

    model = onnx.load(str(graph), load_external_data=False)
    shapes = _shapes(model)
    producers = {output: node for node in model.graph.node for output in node.output}
    layers = []
    for node in model.graph.node:
        if node.op_type not in _MACS:
            continue
        name = node.name or node.output[0]
        known = [shapes.get(tensor) for tensor in (*node.input[:2], node.output[0])]
        if any(shape is None for shape in known):
            raise InputError(f"{graph}: the shapes around {name} ({node.op_type}) do not follow from the input's shape")
        macs = _MACS[node.op_type](node, *(shape for shape in known if shape is not None))
        quantized = all(_dequantized(tensor, producers) for tensor in node.input[:2])
        layers.append(Layer(name, node.op_type, macs, node.output[0], quantized))
    return tuple(layers)


def _shapes(model: onnx.ModelProto) -> Mapping[str, tuple[int, ...]]:
    """Return every shape that is known when the batch size is 1; the model's own annotations are dropped."""
    from onnx import shape_inference

    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    images = next(value for value in model.graph.input if value.name not in constants)
    images.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    found = dict(constants)
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            found[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return found


def _dequantized(tensor: str, producers: Mapping[str, onnx.NodeProto]) -> bool:
    node = producers.get(tensor)
    if node is None or node.op_type not in _PASSES:
        return node is not None and node.op_type == "DequantizeLinear"
    sources = node.input if node.op_type == "Concat" else node.input[:1]
    return all(_dequantized(source, producers) for source in sources)


def _convolution(node: onnx.NodeProto, image: Shape, weight: Shape, output: Shape) -> int:
    del node, image
    return prod(output) * prod(weight[1:])  # the weight's second dimension is already divided by the groups


def _transposed_convolution(node: onnx.NodeProto, image: Shape, weight: Shape, output: Shape) -> int:
    del node, output
    return prod(image) * prod(weight[1:])


def _linear(node: onnx.NodeProto, left: Shape, right: Shape, output: Shape) -> int:
    del right
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(output) * left[0 if transposed else 1]


def _product(node: onnx.NodeProto, left: Shape, right: Shape, output: Shape) -> int:
    del node, right
    return prod(output) * left[-1]


_MACS: Mapping[str, Callable[[onnx.NodeProto, Shape, Shape, Shape], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _linear,
    "MatMul": _product,
}
