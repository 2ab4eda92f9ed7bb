"""An ONNX graph as TensorRT sees it: tensors with their types, a layer a node, and the fused layers of an engine."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
from onnx import TensorProto

DATA_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
}
_OPERATORS = {
    "CONVOLUTION": "Conv",
    "DECONVOLUTION": "ConvTranspose",
    "ACTIVATION": "Relu Sigmoid Tanh LeakyRelu Clip Elu Selu HardSigmoid Softplus",
    "POOLING": "MaxPool AveragePool",
    "REDUCE": "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin",
    "MATRIX_MULTIPLY": "Gemm MatMul",
    "ELEMENTWISE": "Add Sub Mul Div Pow Max Min",
    "SHUFFLE": "Flatten Reshape Transpose Squeeze Unsqueeze",
    "SCALE": "BatchNormalization",
    "NORMALIZATION": "LayerNormalization InstanceNormalization",
    "UNARY": "Sqrt Exp Erf Neg Abs Log Floor Ceil Round",
    **{name: name.title() for name in ("CAST", "CONSTANT", "SHAPE", "GATHER", "SLICE", "SOFTMAX")},
    **{"CONCATENATION": "Concat", "QUANTIZE": "QuantizeLinear", "DEQUANTIZE": "DequantizeLinear"},
}
LAYER_TYPES = {operator: kind for kind, operators in _OPERATORS.items() for operator in operators.split()}
FUSES = {"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "ELEMENTWISE"}  # with an activation or a Q behind it


@dataclass(frozen=True)
class Tensor:
    """A tensor's name, its ONNX element type (0: unknown), and its shape, -1 where a dimension is not fixed."""

    name: str
    element_type: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One layer: `kind` is a `LayerType`, `nodes` name the nodes that it was made from, `operands` weights included."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    operands: tuple[str, ...] = ()
    weights: str = ""


@dataclass(frozen=True)
class Graph:
    """A parsed model.

    Attributes:
        model: the ONNX model.
        tensors: by name, weights included.
        weights: names of the stored tensors.
    """

    model: onnx.ModelProto
    tensors: dict[str, Tensor]
    weights: frozenset[str] = field(default_factory=frozenset)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs that are not stored tensors."""
        return tuple(self.tensors[value.name] for value in self.model.graph.input if value.name not in self.weights)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Outputs."""
        return tuple(self.tensors[value.name] for value in self.model.graph.output)

    @property
    def element_types(self) -> set[int]:
        """ONNX element types of all tensors."""
        return {tensor.element_type for tensor in self.tensors.values()}

    @property
    def operators(self) -> set[str]:
        """Types of all nodes."""
        return {node.op_type for node in self.model.graph.node}

    @property
    def weights_bytes(self) -> int:
        """Bytes of all stored tensors."""
        widths = {TensorProto.INT8: 1, TensorProto.UINT8: 1, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2}
        tensors = self.model.graph.initializer
        return sum(math.prod(tensor.dims) * widths.get(tensor.data_type, 4) for tensor in tensors)


def graph_of(model: onnx.ModelProto) -> Graph:
    """Read a model's tensors; the types between its nodes are inferred."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    tensors = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        kind = value.type.tensor_type
        shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
        tensors[value.name] = Tensor(value.name, kind.elem_type, shape)
    for tensor in model.graph.initializer:
        tensors[tensor.name] = Tensor(tensor.name, tensor.data_type, tuple(tensor.dims))
    return Graph(model, tensors, frozenset(tensor.name for tensor in model.graph.initializer))


def node_name(node: Any) -> str:
    """Return a node's name, or the one that the parser makes up."""
    return node.name or f"node_of_{node.output[0]}"


def network_layers(graph: Graph) -> list[Layer]:
    """Return one layer a node; the real parser makes more (constants, shapes, casts)."""
    return [
        Layer(
            name := node_name(node),
            LAYER_TYPES.get(node.op_type, "IDENTITY"),
            tuple(tensor for tensor in node.input if tensor and tensor not in graph.weights),
            tuple(node.output),
            (name,),
            tuple(node.input),
        )
        for node in graph.model.graph.node
    ]


def engine_layers(graph: Graph) -> list[Layer]:
    """Fuse as TensorRT would at least: Q/DQ of weights and DQ into what reads them, ReLU and Q into what writes."""
    kept: list[Layer] = []
    constant, source = set(graph.weights), dict[str, str]()
    uses = Counter(tensor for node in graph.model.graph.node for tensor in node.input)
    uses.update(tensor.name for tensor in graph.outputs)
    for layer in network_layers(graph):
        inputs = tuple(dict.fromkeys(source.get(name, name) for name in layer.inputs))
        moving = tuple(name for name in inputs if name not in constant)
        if not moving:
            constant.update(layer.outputs)
            source.update(
                (name, source.get(layer.operands[0], layer.operands[0])) for name in layer.outputs[:1] if layer.operands
            )
            continue
        if layer.kind == "DEQUANTIZE":
            source.update((name, moving[0]) for name in layer.outputs)
            continue
        before = next((i for i, other in enumerate(kept) if moving[0] in other.outputs), None)
        follows = before is not None and kept[before].kind in FUSES and uses[moving[0]] == 1
        if follows and len(moving) == 1 and layer.kind in {"ACTIVATION", "QUANTIZE"}:
            other = kept[before or 0]
            name, nodes = f"{other.name} + {layer.name}", (*other.nodes, *layer.nodes)
            kept[before or 0] = replace(other, name=name, outputs=layer.outputs, nodes=nodes)
        else:
            stored = (source.get(name, name) for name in layer.operands if name in constant)
            weights = next((name for name in stored if len(graph.tensors[name].shape) > 1), "")
            kept.append(replace(layer, inputs=moving, weights=weights))
    return kept
