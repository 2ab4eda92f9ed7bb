"""Which ONNX operators compute in half precision, at which opset, and in which of their inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

HalfName = Literal["fp16", "bf16"]

FLOAT = 1  # TensorProto.FLOAT
NEWEST_OPSET = 22  # the first at which convolution and pooling list bfloat16; TensorRT 10.8 and later read it

_READS_NO_VALUES = ("Shape", "Size")  # take a tensor in whichever type it has
_TYPE_BY_ATTRIBUTE = ("Cast", "ConstantOfShape")  # `typed` rewrites the attribute that decides their output's type

# What the schema allows and TensorRT refuses in BF16 (TensorRT-RTX 1.7.1: ConvTranspose when it builds, others when it
# parses).
_REFUSED_IN_BF16 = ("ConvTranspose", "GlobalLpPool", "HardSwish", "LpNormalization", "LpPool", "Mish")


@dataclass(frozen=True)
class Half:
    """A half-precision type: its numbers and its names in ONNX."""

    name: HalfName
    onnx_type: int
    type_string: str
    numpy_type: Any
    largest: float
    smallest_normal: float

    def rounded(self, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return float32 values in this type, to nearest even; what is beyond its range becomes infinite."""
        with np.errstate(over="ignore"):
            return values.astype(self.numpy_type)


def half(name: HalfName) -> Half:
    """Return the type named `fp16` (5 exponent bits, 11 of precision) or `bf16` (8 and 8)."""
    import ml_dtypes  # comes with onnx
    from onnx import TensorProto

    numpy_type, onnx_type, type_string = {
        "fp16": (np.float16, TensorProto.FLOAT16, "tensor(float16)"),
        "bf16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16, "tensor(bfloat16)"),
    }[name]
    finfo: Any = ml_dtypes.finfo  # numpy's, for types that numpy does not know; it has no annotations
    numbers = finfo(numpy_type)
    return Half(name, int(onnx_type), type_string, numpy_type, float(numbers.max), float(numbers.smallest_normal))


@dataclass(frozen=True)
class Form:
    """Which inputs and outputs of a node are in half precision; all others keep the type that they have."""

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]


def form(node: onnx.NodeProto, types: Mapping[str, int], opset: int, kind: Half) -> Form | str | None:
    """Return a node's half-precision form, as the operator's schema allows it.

    A type parameter of the schema (`T`, `T1`, …) that carries float32 here turns half where it allows half. Inputs
    that are float32 by decree (Resize's scales) stay. A node is half when all its float outputs are; one without float
    outputs (comparison, QuantizeLinear) when any of its float inputs is.

    Args:
        node: a node of the float32 graph.
        types: `TensorProto.DataType` by tensor; a tensor of unknown type, a sequence or an optional is absent.
        opset: version of the default operator set.
        kind: the half type.

    Returns:
        The form; None where the node has nothing to do with float values; a reason why the node stays float.
    """
    from onnx import defs

    inputs = [types.get(name) == FLOAT for name in node.input]
    outputs = [types.get(name) == FLOAT for name in node.output]
    unknown = [name for name in (*node.input, *node.output) if name and name not in types]
    if not unknown and (node.op_type in _READS_NO_VALUES or not any((*inputs, *outputs))):
        return None
    if unknown:
        return f"{unknown[0]} is no tensor of a known type"
    missing = f"{node.op_type} has no {kind.name} form at opset {opset}"
    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, max_inclusive_version=opset):
        return missing
    if kind.name == "bf16" and node.op_type in _REFUSED_IN_BF16:
        return f"TensorRT does not build {node.op_type} in bf16"
    schema = defs.get_schema(node.op_type, opset)
    allowed = {entry.type_param_str for entry in schema.type_constraints if kind.type_string in entry.allowed_type_strs}
    takes = [_parameter(schema.inputs, at) for at in range(len(inputs))]
    gives = [_parameter(schema.outputs, at) for at in range(len(outputs))]
    half_inputs = tuple(there and parameter in allowed for there, parameter in zip(inputs, takes, strict=True))
    by_input = {parameter for parameter, turned in zip(takes, half_inputs, strict=True) if turned}
    decided = allowed if node.op_type in _TYPE_BY_ATTRIBUTE else by_input
    half_outputs = tuple(there and parameter in decided for there, parameter in zip(outputs, gives, strict=True))
    if half_outputs != tuple(outputs) or not any((*half_inputs, *half_outputs)):
        return missing
    return Form(half_inputs, half_outputs)


def best_opset(nodes: Iterable[onnx.NodeProto], types: Mapping[str, int], opset: int, kind: Half) -> int:
    """Return the lowest opset, the graph's own or a later one, at which the most nodes have a half form."""
    nodes = list(nodes)

    def taken(version: int) -> int:
        return sum(isinstance(form(node, types, version, kind), Form) for node in nodes)

    return max(range(opset, max(opset, NEWEST_OPSET) + 1), key=taken)  # max keeps the first of equals


def _parameter(formal: Any, position: int) -> str:
    """Return the type parameter of an input or output; the last one of a variadic operator repeats."""
    return str(formal[min(position, len(formal) - 1)].type_str)
