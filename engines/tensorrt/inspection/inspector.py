"""Reading what TensorRT's engine inspector prints, which every version words a little differently.

Told apart here, and nowhere else: TensorRT 11 says "Datatype" and "Format" where 8 and 10 say "Format/Datatype", and
"I/O Tensors" where they say "Bindings" (https://docs.nvidia.com/deeplearning/tensorrt/11.3.0/api/migration/
tensorrt-10x-to-11x-IEngineInspector.html). An engine built without detailed verbosity names its layers and no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contracts.errors import InputError
from engines.tensorrt.inspection.layers import UNKNOWN, EngineLayer, TensorForm, datatype_of, format_of

_WHERE = "TensorRT's layer information"
_STRING_OR_NOT_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|-?\b(?:nan|inf|infinity)\b', re.IGNORECASE | re.DOTALL)
_ONNX_LAYER = re.compile(r"\[ONNX Layer: (.*?)\](?=\[ONNX Layer: |[\x1e\x1f,\s]|$)", re.DOTALL)
_OPERAND = "tf32|bf16|f16|f32|i8|e4m3|e5m2"
# A kernel's name: operand and result, then what it multiplies in and what it sums in: _i8f32_i8i32_f32_
_TACTIC = re.compile(rf"_(?:{_OPERAND}){{2}}_({_OPERAND})(?:bf16|f16|f32|i32)_")
_MULTIPLIES_IN = {
    **{"tf32": "fp32", "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8"},
    **{"e4m3": "fp8", "e5m2": "fp8"},
}
_COMPUTES = {"fp32", "fp16", "bf16", "fp8", "fp4", "int8"}


def engine_layers(information: str) -> tuple[EngineLayer, ...]:
    """Return an engine's layers in the order in which they run.

    Args:
        information: from `EngineInspector.get_engine_information(LayerInformationFormat.JSON)` of TensorRT 8, 10, 11 or
            TensorRT-RTX, at whatever verbosity.

    Raises:
        InputError: it is not what any of them prints.
    """
    layers = _object(_parsed(information), "it").get("Layers")
    if not isinstance(layers, list):
        raise InputError(f'{_WHERE} has no list "Layers"; build the engine with this version of TensorRT again')
    return tuple(_layer(layer, f"layer {index}") for index, layer in enumerate(layers))


def _parsed(information: str) -> Any:
    """Return the JSON value; numbers that are not finite become null, as nothing here reads one."""
    finite = _STRING_OR_NOT_FINITE.sub(lambda found: found[0] if found[0][0] == '"' else "null", information)
    try:
        # Not strict, because TensorRT 8.6 writes the control characters between the entries of "Metadata" as they are.
        return json.loads(finite, strict=False)
    except (ValueError, RecursionError) as error:
        at = getattr(error, "pos", None)
        near = "" if at is None else f" near {finite[max(0, at - 20) : at + 20]!r}"
        raise InputError(
            f"{_WHERE} is not valid JSON{near} ({error}); the engine runs all the same, but what its layers compute in "
            "is not known"
        ) from error


def _layer(layer: Any, where: str) -> EngineLayer:
    if isinstance(layer, str):
        return EngineLayer(layer, UNKNOWN, UNKNOWN, (), (), _nodes(layer, ""), None)
    fields = _object(layer, where)
    name, kind = _text(fields, "Name"), _text(fields, "LayerType")
    if kind.casefold() != "noop":  # the kernel's family, such as CaskConvolution, is told by "LayerType"
        kind = _text(fields, "ParameterType") or kind or UNKNOWN
    inputs, outputs = (_tensors(fields.get(side), f"{where} ({name})") for side in ("Inputs", "Outputs"))
    tactic = _text(fields, "TacticName") or _text(fields, "TacticValue") or None
    precision = _precision(fields, tactic or "", (*inputs, *outputs))
    return EngineLayer(name, kind, precision, inputs, outputs, _nodes(name, _text(fields, "Metadata")), tactic)


def _tensors(tensors: Any, where: str) -> tuple[TensorForm, ...]:
    if tensors is None:
        return ()
    if not isinstance(tensors, list):
        raise InputError(f"{_WHERE}: the tensors of {where} are no list; use a version of TensorRT that is supported")
    return tuple(_tensor(_object(tensor, f"a tensor of {where}")) for tensor in tensors)


def _tensor(fields: Mapping[str, Any]) -> TensorForm:
    described = _text(fields, "Format/Datatype").rstrip(".") or _text(fields, "Format").rstrip(".")
    datatype = _text(fields, "Datatype") or _text(fields, "DataType") or described
    return TensorForm(_text(fields, "Name"), datatype_of(datatype), format_of(described))


def _precision(fields: Mapping[str, Any], tactic: str, tensors: Sequence[TensorForm]) -> str:
    """Return what a layer computes in: told by its kernel's name, its weights, or the first tensor that tells."""
    kernel = _TACTIC.search(tactic)
    if kernel:
        return _MULTIPLIES_IN[kernel[1]]
    weights: Mapping[str, Any] = next(
        (fields[key] for key in ("Weights", "ConvWeights") if isinstance(fields.get(key), dict)), {}
    )
    told = [datatype_of(_text(weights, "Type")), *(tensor.datatype for tensor in tensors)]
    known = [datatype for datatype in told if datatype != UNKNOWN]
    return next((datatype for datatype in known if datatype in _COMPUTES), known[0] if known else UNKNOWN)


def _nodes(name: str, metadata: str) -> tuple[str, ...]:
    """Return the nodes that a layer was made from, each once: those of its metadata, else those that its name joins."""
    found = _ONNX_LAYER.findall(metadata) or list(_joined(name))
    return tuple(dict.fromkeys(node for node in found if node and not node.startswith("(Unnamed Layer*")))


def _joined(name: str) -> Iterator[str]:
    """Yield the names that one name joins; of a region "{ForeignNode[first...last]}", its two ends."""
    name = re.sub(r" \[profile \d+\]$", "", name)
    if name.startswith("Reformatting CopyNode"):
        return  # the nodes that it names are those that it copies for
    region = re.fullmatch(r"\{ForeignNode\[(.*)\]\}", name, re.DOTALL)
    if region:
        yield from region[1].split("...")
    elif name.startswith("PWN(") and name.endswith(")"):
        for part in _split(name[4:-1], (", ",)):
            yield from _joined(part)
    else:
        name = re.sub(r"_myl\d+_\d+$", "", name)
        parts = _split(name, (" + ", " || "))
        yield from parts if len(parts) == 1 else (node for part in parts for node in _joined(part))


def _split(text: str, separators: Sequence[str]) -> list[str]:
    """Return the parts of a text between separators that stand in no parentheses."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        separator = next((one for one in separators if depth == 0 and text.startswith(one, at)), None)
        if separator and at >= start:
            parts.append(text[start:at])
            start = at + len(separator)
    return [*parts, text[start:]]


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{_WHERE}: {what} is no JSON object; use a version of TensorRT that is supported (8.6 to 11)")
    return value


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
