"""Energy of one image's inference. No sensor is read yet, and the result says so instead of showing a zero."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

NO_SENSOR = "this version reads no energy sensor"


@dataclass(frozen=True)
class Energy:
    """Energy per image in joules, the sensor it came from, its rails, and why a quantity is None."""

    joules_per_inference: float | None = None
    source: str | None = None
    rails: dict[str, float] | None = None
    reason: str | None = NO_SENSOR

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return asdict(self)
