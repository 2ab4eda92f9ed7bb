"""What precision the layers of a built engine run in, whatever was asked for.

A runtime may run a layer in float although the graph quantizes it, and says nothing. An engine is INT8 as far as its
multiply-accumulates (MACs) are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engines.macs import Layer

INT8 = "int8"
UNKNOWN = "unknown"

_NAMED = 4  # layers that a sentence names


@dataclass(frozen=True)
class LayerPrecision:
    """One layer that multiplies.

    Attributes:
        name: of its node in the graph that the engine was built from.
        operator: of that node, in ONNX's terms.
        precision: what it runs in: int8, fp32, fp16, bf16, or unknown.
        macs: its multiply-accumulates for one image.
        quantized: whether the graph quantizes all that it multiplies; if not, it was meant to run in float.
    """

    name: str
    operator: str
    precision: str
    macs: int
    quantized: bool


@dataclass(frozen=True)
class PrecisionAudit:
    """What every layer of one engine runs in.

    Attributes:
        layers: those that multiply, in the order of the graph.
        int8_mac_share: share of all multiply-accumulates that run in INT8, in [0, 1]; None where it is not known.
        source: what told it.
        reason: why the share is not known.
    """

    layers: tuple[LayerPrecision, ...]
    int8_mac_share: float | None
    source: str
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> PrecisionAudit:
        """Read what `to_json` gave.

        Raises:
            TypeError, KeyError: it is something else.
        """
        return PrecisionAudit(**{**value, "layers": tuple(LayerPrecision(**layer) for layer in value["layers"])})


def silent_audit(source: str, reason: str) -> PrecisionAudit:
    """Return the audit of an engine of which nothing is known, and why."""
    return PrecisionAudit((), None, source, reason)


def layers_audit(layers: Sequence[Layer], precisions: Mapping[str, str], source: str) -> PrecisionAudit:
    """Return the audit of an engine whose runtime told what its layers run in.

    Args:
        layers: those of the graph that it was built from.
        precisions: by the layer's name; a layer that is missing is one of which the runtime said nothing.
        source: what told it.
    """
    found = tuple(
        LayerPrecision(layer.name, layer.operator, precisions.get(layer.name, UNKNOWN), layer.macs, layer.quantized)
        for layer in layers
    )
    unknown = [layer for layer in found if layer.precision == UNKNOWN]
    total = _macs(found)
    if unknown:
        return PrecisionAudit(found, None, source, f"the runtime does not tell what {_names(unknown)} ran as")
    if not total:
        return PrecisionAudit(found, None, source, "the graph multiplies nothing")
    return PrecisionAudit(found, _macs([layer for layer in found if layer.precision == INT8]) / total, source)


def audit_warnings(backend: str, precision: str, audit: PrecisionAudit | None) -> tuple[str, ...]:
    """Return a sentence for each way in which an engine that was asked to be INT8 is not.

    Args:
        backend: name of the engine's backend.
        precision: what was asked for; nothing is said of anything but int8.
        audit: None for an engine that was built before there were audits.
    """
    if precision != INT8 or audit is None:
        return ()
    sentences = []
    in_float = [layer for layer in audit.layers if layer.precision not in (INT8, UNKNOWN)]
    for layers, how in (
        ([layer for layer in in_float if layer.quantized], "although the graph quantizes {them}"),
        ([layer for layer in in_float if not layer.quantized], "because the graph does not quantize {them}"),
    ):
        if layers:
            one = len(layers) == 1
            kinds = " and ".join(sorted({layer.precision.upper() for layer in layers}))
            share = 100 * _macs(layers) / max(1, _macs(audit.layers))
            sentences.append(
                f"{backend} int8: {len(layers)} of {len(audit.layers)} layers, {share:.1f} % of the "
                f"multiply-accumulates, {'runs' if one else 'run'} in {kinds} "
                f"{how.format(them='it' if one else 'them')}: {_names(layers)}"
            )
    if audit.int8_mac_share is None:
        sentences.append(f"{backend} int8: how much of it runs in INT8 is not known: {audit.reason}")
    return tuple(sentences)


def _macs(layers: Sequence[LayerPrecision]) -> int:
    return sum(layer.macs for layer in layers)


def _names(layers: Sequence[LayerPrecision]) -> str:
    named = ", ".join(layer.name for layer in layers[:_NAMED])
    more = len(layers) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
