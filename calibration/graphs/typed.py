"""From a float32 ONNX graph to one typed in half precision, as strongly typed runtimes (TensorRT 10 and later) read it.

Such a runtime has no FP16 switch: a layer's precision is the type of its tensors in the graph. Here every node turns
half that its operator's schema and the range of its values allow; the others stay float32 between Casts.

What stays float32, and is named with the reason:

- a node that reads or writes an activation whose peak exceeds **half** of the type's largest number (FP16: 32752 of
  65504). Peaks are seen on calibration images; the factor of two is for the images that were not seen.
- a node with a finite constant that is infinite in half. Constants are known exactly, so there is no margin; infinity
  itself (an attention mask) exists in half. BF16 ends a little below float32 too: float32's lowest number, another
  common mask, is infinite in both.
- a node with a nonzero constant that vanishes in half as a whole (an epsilon of 1e-12). Single weights that round to
  zero among larger ones change a sum by less than rounding does, and every trained network has some: they are let go.
  A divisor, or a scale of QuantizeLinear or DequantizeLinear, must be a normal number in each of its elements: zero
  divides, and a subnormal number has lost the digits that make a scale.
- a node of an operator without a half form in ONNX, or whose BF16 form TensorRT refuses.

Peaks see what leaves a node, not its inner sums: LayerNormalization, Softmax, ReduceMean and Pow turn half like all
others. Runtimes sum those in float32 when they are one operator; a LayerNormalization that was exported in pieces shows
its squares as tensors of their own, and these have peaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from calibration.graphs.half_operators import FLOAT, Form, Half, HalfName, best_opset, form, half
from calibration.graphs.half_writer import write
from calibration.graphs.wiring import tensor_types
from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

MARGIN = 2.0  # how far unseen images may exceed the peaks that were seen

_FLOOR_INPUTS = {("Div", 1), ("QuantizeLinear", 1), ("DequantizeLinear", 1)}  # (operator, position)


@dataclass(frozen=True)
class TypedGraph:
    """A graph in half precision, and its nodes that stayed in float32."""

    model: onnx.ModelProto
    kept_float: tuple[tuple[str, str], ...]
    """(name of the node, or of its first output where it has none; reason), in graph order."""


def typed(model: onnx.ModelProto, dtype: HalfName, peaks: Mapping[str, float]) -> TypedGraph:
    """Return a float32 graph in half precision; its inputs and outputs stay float32.

    The opset is raised, to 22 at most, where more operators then have a half form (Conv lists bfloat16 from 22,
    QuantizeLinear float16 from 19). A tensor keeps its name in the type in which it is made; its copy in the other
    type ends in `_fp16`, `_bf16` or `_fp32`. A graph of which nothing can be half comes back as it was.

    Args:
        model: a float32 graph without control flow. It is not changed.
        dtype: `fp16` or `bf16`.
        peaks: largest magnitude of each of `tensors(model)` over the calibration images. A tensor that is absent is
            taken to be in range; a peak that is not a number is not.

    Raises:
        InputError: the graph is in half precision already, has control flow, cannot be brought to the newer opset, or
            does not pass onnx's checker.
    """
    import onnx

    kind = half(dtype)
    source = _with_constants_as_initializers(model)
    types = _types(source)
    _require_plain_float(source, types)
    opset = best_opset(source.graph.node, types, _opset(source), kind)
    if opset != _opset(source):
        source = _raised(source, opset)
        types = _types(source)
    forms, kept = _forms(source.graph, types, opset, kind, peaks)
    if not any(isinstance(entry, Form) and any((*entry.inputs, *entry.outputs)) for entry in forms):
        return TypedGraph(_copy(model), kept)
    try:
        return TypedGraph(write(source, forms, types, kind), kept)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"onnx does not accept the graph in {dtype}: {_first_line(error)}; check the graph") from error


def tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the float activations whose peaks `typed` asks for: the inputs, then all that nodes compute, in order."""
    source = _with_constants_as_initializers(model)
    types = _types(source)
    names = [value.name for value in source.graph.input]
    names += [name for node in source.graph.node for name in node.output]
    return tuple(name for name in names if types.get(name) == FLOAT)


def _forms(
    graph: onnx.GraphProto, types: Mapping[str, int], opset: int, kind: Half, peaks: Mapping[str, float]
) -> tuple[list[Form | None], tuple[tuple[str, str], ...]]:
    """Return every node's form (all float32 where it must stay) and the nodes that stay, with the reason."""
    from onnx import numpy_helper

    constants = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.data_type == FLOAT
    }
    forms: list[Form | None] = []
    kept = []
    for node in graph.node:
        found = form(node, types, opset, kind)
        if isinstance(found, Form):
            found = _out_of_range(node, found, constants, kind, peaks) or found
        if isinstance(found, str):
            kept.append((node.name or node.output[0], found))
            found = Form((False,) * len(node.input), (False,) * len(node.output))
        forms.append(found)
    return forms, tuple(kept)


def _out_of_range(
    node: onnx.NodeProto,
    turned: Form,
    constants: Mapping[str, npt.NDArray[np.float32]],
    kind: Half,
    peaks: Mapping[str, float],
) -> str | None:
    """Return why a node's values do not fit into the half type, or None."""
    ends = [name for name, is_half in zip(node.input, turned.inputs, strict=True) if is_half]
    ends += [name for name, is_half in zip(node.output, turned.outputs, strict=True) if is_half]
    limit = kind.largest / MARGIN
    for name in ends:
        if not abs(peaks.get(name, 0.0)) <= limit:  # so that a peak of nan stays out
            return f"{name} reaches {peaks[name]:.4g}, {kind.name} is held to {limit:.4g}"
    for position, name in enumerate(node.input):
        if name in constants and turned.inputs[position]:
            normal = (node.op_type, position) in _FLOOR_INPUTS
            fault = _constant_fault(constants[name], kind, every_element_normal=normal)
            if fault:
                return f"the constant {name} {fault}"
    if node.op_type == "ConstantOfShape" and node.attribute:
        from onnx import numpy_helper

        fault = _constant_fault(numpy_helper.to_array(node.attribute[0].t), kind, every_element_normal=False)
        return f"its value {fault}" if fault else None
    return None


def _constant_fault(values: npt.NDArray[np.float32], kind: Half, *, every_element_normal: bool) -> str | None:
    rounded = kind.rounded(values).astype(np.float32)
    infinite = np.isinf(rounded) & np.isfinite(values)
    if infinite.any():
        return f"holds {values[infinite][0]:.4g}, which is infinite in {kind.name}"
    magnitudes = np.abs(values[values != 0])
    if every_element_normal and (magnitudes < kind.smallest_normal).any():
        return f"holds {magnitudes.min():.4g}, below the normal numbers of {kind.name}"
    if magnitudes.size and not rounded.any():
        return f"holds at most {magnitudes.max():.4g}, which is zero in {kind.name}"
    return None


def _with_constants_as_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which float Constant nodes are initializers, and inputs with a default are constants."""
    from onnx import numpy_helper

    copy = _copy(model)
    graph = copy.graph
    for node in [node for node in graph.node if node.op_type == "Constant" and node.domain in ("", "ai.onnx")]:
        attribute = node.attribute[0]
        value: Any = None
        if attribute.name == "value" and attribute.t.data_type == FLOAT:
            value = numpy_helper.to_array(attribute.t)
        elif attribute.name in ("value_float", "value_floats"):
            value = np.array(attribute.f if attribute.name == "value_float" else attribute.floats, np.float32)
        if value is not None:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            graph.node.remove(node)
    constants = {tensor.name for tensor in graph.initializer}
    for value_info in [value_info for value_info in graph.input if value_info.name in constants]:
        graph.input.remove(value_info)
    return copy


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor that is known to be one."""
    return {name: int(kind.elem_type) for name, kind in tensor_types(model).items() if kind.elem_type}


def _require_plain_float(model: onnx.ModelProto, types: Mapping[str, int]) -> None:
    from onnx import AttributeProto, TensorProto

    for name, element in types.items():
        if element in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            raise InputError(f"tensor {name!r} is in half precision already: start from the float32 graph")
    for node in model.graph.node:
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            where = node.name or node.output[0]
            raise InputError(f"node {where!r} ({node.op_type}) has a graph inside: simplify the model to one without")


def _opset(model: onnx.ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _raised(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    from onnx import helper, version_converter

    try:
        raised = version_converter.convert_version(model, opset)
    except RuntimeError as error:
        reason = _first_line(error)
        raise InputError(f"the graph cannot be brought to opset {opset}: {reason}; export it at that opset") from error
    needed = helper.find_min_ir_version_for(list(raised.opset_import), ignore_unknown=True)
    raised.ir_version = max(raised.ir_version, needed)  # the converter leaves the old one
    return raised


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
