"""Where Q/DQ pairs go: one table, in ONNX's operator names, for a torch model and for an ONNX graph alike.

The places follow TensorRT's rules for good INT8 fusion: quantize the inputs and the weights of what multiplies, both
inputs of a residual Add and the input of an AveragePool; never an output as a habit, never a bias, and nothing between
a convolution and the batch norm or ReLU that is fused into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from contracts.errors import unknown_name


@dataclass(frozen=True)
class Rule:
    """What is quantized around one operator.

    Attributes:
        activations: positions of the inputs that are quantized per tensor.
        weight_axis: axis of input 1 that counts output channels where that input is a constant, a weight; None for
            operators without weights: with a constant among their inputs (a bias, a scale) they are left alone.
    """

    activations: tuple[int, ...]
    weight_axis: int | None = None


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Conv": Rule(activations=(0, 1), weight_axis=0),
        "ConvTranspose": Rule(activations=(0, 1), weight_axis=1),
        "Gemm": Rule(activations=(0, 1), weight_axis=0),  # the weight is (out, in): transB=1
        "MatMul": Rule(activations=(0, 1), weight_axis=-1),  # the weight is (…, in, out)
        "Add": Rule(activations=(0, 1)),
        "AveragePool": Rule(activations=(0,)),
        "GlobalAveragePool": Rule(activations=(0,)),
    }
)

PART_OF_ACTIVATION = "Add inside an activation function"
"""The kind of a sum of x and a pointwise function of x: no residual, but GELU or Mish as exporters write them."""


@dataclass(frozen=True)
class Operand:
    """One input of an operation.

    Attributes:
        tensor: its name.
        constant: whether it is the same for every image.
    """

    tensor: str
    constant: bool


@dataclass(frozen=True)
class Operation:
    """One node of a graph in ONNX's terms, whatever the graph is written in.

    Attributes:
        name: of the node.
        kind: ONNX's operator; "GlobalAveragePool" also for a mean over height and width.
        inputs: its tensor inputs, in ONNX's order.
    """

    name: str
    kind: str
    inputs: tuple[Operand, ...]


@dataclass(frozen=True)
class Place:
    """One input of one operation that is quantized.

    Attributes:
        operation: name of the node.
        kind: its operator.
        position: which of its inputs.
        tensor: name of that input.
        axis: of a weight, the axis that counts output channels; None for an activation, quantized per tensor.
    """

    operation: str
    kind: str
    position: int
    tensor: str
    axis: int | None


def places(operations: Iterable[Operation], keep_float: frozenset[str] = frozenset()) -> tuple[Place, ...]:
    """Return every place where a Q/DQ pair goes, in the order of the operations.

    Args:
        operations: of the graph, in an order of execution.
        keep_float: names of operations that get none.

    Raises:
        InputError: `keep_float` names an operation that is not there, or that no rule quantizes.
    """
    found = [place for operation in operations for place in _places_of(operation)]
    names = tuple(dict.fromkeys(place.operation for place in found))
    for name in sorted(keep_float):
        if name not in names:
            raise unknown_name("layer in quantize.keep_float", name, names)
    return tuple(place for place in found if place.operation not in keep_float)


def scale_names(places: Iterable[Place], ranks: Mapping[str, int]) -> dict[tuple[str, int | None], str]:
    """Return the names under which scales stand in a calibration table.

    A tensor's scale has its name. A weight that two operations count output channels of along different axes has two:
    the first has the tensor's name, each other is "tensor along axis".

    Args:
        places: in the order of the operations.
        ranks: of every weight among the places.

    Returns:
        By tensor and axis, the axis from 0 or None for an activation, in the order of the places.
    """
    names: dict[tuple[str, int | None], str] = {}
    for place in places:
        axis = None if place.axis is None else place.axis % ranks[place.tensor]
        name = f"{place.tensor} along {axis}" if place.tensor in names.values() else place.tensor
        names.setdefault((place.tensor, axis), name)
    return names


def _places_of(operation: Operation) -> list[Place]:
    rule = RULES.get(operation.kind)
    if rule is None or len(operation.inputs) <= max(rule.activations):
        return []
    found = []
    for position in rule.activations:
        operand = operation.inputs[position]
        weight = operand.constant and position == 1 and rule.weight_axis is not None
        if operand.constant and not weight:
            return []
        axis = rule.weight_axis if weight else None
        found.append(Place(operation.name, operation.kind, position, operand.tensor, axis))
    return found
