"""Who makes and who reads each tensor of an ONNX graph, of what type and shape it is, and whether it is constant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from calibration.graphs.constants import constant_tensors

if TYPE_CHECKING:
    import onnx


class Wiring:
    """An index of a model's main graph; subgraphs (If, Loop) and functions are not looked into.

    Args:
        model: with its nodes in an order of execution, as ONNX demands. It is read, never changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = tuple(model.graph.node)
        self._makers = {tensor: node for node in self.nodes for tensor in node.output if tensor}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for tensor in dict.fromkeys(node.input):
                self._readers[tensor].append(node)
        self._constants = constant_tensors(model.graph)
        self._types = tensor_types(model)

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that gives a tensor; None for inputs and initializers."""
        return self._makers.get(tensor)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor, each once."""
        return self._readers.get(tensor, [])

    def walk_back(self, tensor: str, through: Container[str]) -> Iterator[str]:
        """Yield a tensor and what it was before each operator of `through`, along the first input not constant."""
        yield tensor
        node = self._makers.get(tensor)
        while node is not None and node.op_type in through:
            tensor = next((name for name in node.input if not self.constant(name)), node.input[0])
            yield tensor
            node = self._makers.get(tensor)

    def source(self, tensor: str, through: Container[str] = frozenset({"Identity"})) -> str:
        """Return the last tensor of `walk_back`."""
        return list(self.walk_back(tensor, through))[-1]

    def constant(self, tensor: str) -> bool:
        """Return whether a tensor depends on no input of the graph; an input that is left out does not either."""
        return not tensor or tensor in self._constants

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """Return a tensor's shape, 0 for a dimension that varies; None where not even the rank is known."""
        found = self._types.get(tensor)
        if found is None or not found.HasField("shape"):
            return None
        return tuple(dimension.dim_value for dimension in found.shape.dim)

    def element_type(self, tensor: str) -> int:
        """Return a tensor's type, one of `onnx.TensorProto.DataType`; 0 (UNDEFINED) where it is not known."""
        return int(self._types[tensor].elem_type) if tensor in self._types else 0


def tensor_types(model: onnx.ModelProto) -> Mapping[str, onnx.TypeProto.Tensor]:
    """Return element type and shape, as far as they can be inferred, of every value that is known to be a tensor."""
    from onnx import helper, shape_inference

    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    types = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
    types |= {tensor.name: helper.make_tensor_type_proto(tensor.data_type, tensor.dims) for tensor in graph.initializer}
    return {name: kind.tensor_type for name, kind in types.items() if kind.HasField("tensor_type")}


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute."""
    from onnx import helper

    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def operand(node: onnx.NodeProto, position: int) -> str:
    """Return the name of one input; an empty string where it is left out."""
    return node.input[position] if len(node.input) > position else ""


def called(node: onnx.NodeProto) -> str:
    """Return a node's name, or that of the tensor it gives."""
    return node.name or node.output[0]


def named(node: onnx.NodeProto) -> str:
    """Return a node's operator and name, as a sentence names it."""
    return f"{node.op_type} '{called(node)}'"
