"""The layers of a built TensorRT engine: what each computes in, and how its tensors lie in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

UNKNOWN = "unknown"

_DATATYPES = {
    "fp32": ("fp32", "float32", "float"),
    "fp16": ("fp16", "float16", "half"),
    "bf16": ("bf16", "bfloat16"),
    "fp8": ("fp8", "float8", "fp8e4m3", "fp8e5m2", "float8e4m3", "float8e4m3fn", "float8e5m2"),
    "fp4": ("fp4", "float4", "fp4e2m1", "float4e2m1"),
    **{name: (name,) for name in ("int4", "int8", "uint8", "int16", "int32", "int64", "bool")},
}
_DATATYPE_OF = {spelling: name for name, spellings in _DATATYPES.items() for spelling in spellings}
_WIDTHS = {"two": 2, "four": 4, "eight": 8, "sixteen": 16, "thirty-two": 32}
_COPY = "Reformatting CopyNode"
# Myelin names a kernel after what it does, one word an operation: one that only moves, casts and transposes.
_MYELIN_COPY = re.compile(r"__myl_(?:Move?|Cast?|Tran?|Resh?)+_myl\d+_\d+")


@dataclass(frozen=True)
class TensorForm:
    """One tensor as a layer reads or writes it.

    Attributes:
        name: the engine's own name of it.
        datatype: fp32, fp16, bf16, fp8, fp4, int4, int8, uint8, int16, int32, int64, bool, or unknown.
        format: its layout by TensorRT's names: LINEAR, CHW4, CHW32, HWC8, ...; unknown where nothing tells.
    """

    name: str
    datatype: str
    format: str


@dataclass(frozen=True)
class EngineLayer:
    """One layer of a built engine, which may be many nodes of the graph.

    Attributes:
        name: the engine's own name of it, as its profiler reports it.
        kind: TensorRT's word for what it does: Convolution, Reformat, gemm, kgen, ...; unknown if it keeps only names.
        precision: what it computes in, one of `TensorForm.datatype`'s words; TF32 counts as fp32.
        inputs: what it reads, weights that are part of it left out.
        outputs: what it writes; may be wider than `precision`.
        onnx_nodes: nodes that it was made from, as far as TensorRT tells; names of weights may be among them.
        tactic: name or number of the kernel that was chosen.
    """

    name: str
    kind: str
    precision: str
    inputs: tuple[TensorForm, ...]
    outputs: tuple[TensorForm, ...]
    onnx_nodes: tuple[str, ...]
    tactic: str | None

    @property
    def is_region(self) -> bool:
        """Whether it is a closed region of many nodes, whose insides TensorRT does not show."""
        return self.name.startswith("{ForeignNode[")

    @property
    def is_reformat(self) -> bool:
        """Whether all that it does is to bring a tensor into another data type or layout, quantization included."""
        kind = self.kind.casefold()
        if kind == "noop":  # a reformatting that turned out to need no copy takes no time
            return False
        return kind == "reformat" or self.name.startswith(_COPY) or _MYELIN_COPY.fullmatch(self.name) is not None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def reformat_layers(layers: Sequence[EngineLayer]) -> tuple[EngineLayer, ...]:
    """Return the layers that only bring tensors into another data type or layout, in their order."""
    return tuple(layer for layer in layers if layer.is_reformat)


def of_profile(layers: Sequence[EngineLayer], index: int) -> tuple[EngineLayer, ...]:
    """Return the layers of one optimisation profile; version 8 and TensorRT-RTX tell those of all of them.

    Those of any but the first carry its number, in their own name or in that of a tensor.
    """
    return tuple(layer for layer in layers if _profile(layer) == index) or tuple(layers)


def _profile(layer: EngineLayer) -> int:
    names = (layer.name, *(tensor.name for tensor in (*layer.inputs, *layer.outputs)))
    marked = [found for name in names if (found := re.search(r"\[profile (\d+)\]", name))]
    return int(marked[0][1]) if marked else 0


def datatype_of(text: str) -> str:
    """Return the data type that one of TensorRT's descriptions names, or unknown.

    Args:
        text: such as "Half" or "Thirty-two wide channel vectorized row major Int8 format".
    """
    words = re.findall(r"[a-z0-9]+", text.casefold())
    return next((_DATATYPE_OF[word] for word in words if word in _DATATYPE_OF), UNKNOWN)


def format_of(text: str) -> str:
    """Return TensorRT's name (of `TensorFormat`) of the layout that one of its descriptions spells out, or unknown.

    Args:
        text: such as "Channel major FP16 format where channel % 8 == 0"; a bare data type says nothing of the layout.
    """
    named = (
        re.search(r"\(k(\w+)\)", text)
        or re.search(r"\(([A-Z]\w+)\)", text)
        or re.fullmatch(r"k?([A-Z][A-Z_0-9]*)", text)
    )
    if named and datatype_of(text) != named[1].casefold():
        return named[1].upper()
    words = text.casefold()
    spatial = "DHW" if "3 spatial dimensions" in words else "HW"
    dla = "DLA_" if "column stride %" in words else ""
    wide = re.match(r"([a-z-]+) wide channel vectorized row major", words)
    if wide:
        return f"C{spatial}{_WIDTHS.get(wide[1], wide[1])}"
    if words.startswith("channel major"):
        multiple = re.search(r"\b(?:c|channel) (?:%|==) (\d+)", words)
        return f"{dla}{spatial}C{multiple[1] if multiple else ''}"
    return f"{dla}LINEAR" if words.startswith("row major") else UNKNOWN
