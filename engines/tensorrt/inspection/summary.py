"""What a TensorRT engine is made of, for people: its layers, their precision, their time, and what conversions cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.tensorrt.inspection.layers import EngineLayer, reformat_layers


@dataclass(frozen=True)
class Inspection:
    """One engine's layers and what they come to.

    Attributes:
        layers: in the order in which they run.
        times_ms: milliseconds an inference by the layer's name; empty where nothing was measured.
        layer_share: share of the layers by what they compute in, largest first, in (0, 1]; their sum is 1.
        reformat_count: layers that only bring a tensor into another data type or layout.
        reformat_time_share: their share of the time of all layers, in [0, 1]; None where nothing was measured.
    """

    layers: tuple[EngineLayer, ...]
    times_ms: Mapping[str, float]
    layer_share: Mapping[str, float]
    reformat_count: int
    reformat_time_share: float | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; a layer of which no time is known has `time_ms` null."""
        return {
            "layers": [{**layer.to_json(), "time_ms": self.times_ms.get(layer.name)} for layer in self.layers],
            "layer_share": dict(self.layer_share),
            "reformat_count": self.reformat_count,
            "reformat_time_share": self.reformat_time_share,
        }


def inspection(layers: Sequence[EngineLayer], times_ms: Mapping[str, float] | None = None) -> Inspection:
    """Return what an engine is made of.

    Args:
        layers: from `engine_layers`.
        times_ms: from `layer_times_ms`, of the same engine; None where nothing was measured.
    """
    times = dict(times_ms or {})
    counts = Counter(layer.precision for layer in layers)
    conversions = reformat_layers(layers)
    total_ms = sum(times.values())
    spent_ms = sum(times.get(name, 0.0) for name in {layer.name: None for layer in conversions})
    return Inspection(
        layers=tuple(layers),
        times_ms=times,
        layer_share={precision: count / len(layers) for precision, count in counts.most_common()},
        reformat_count=len(conversions),
        reformat_time_share=min(1.0, spent_ms / total_ms) if total_ms > 0 else None,
    )
