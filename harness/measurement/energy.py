"""Energy of one image's inference over a window, idle power beside it; None with the reason where nothing tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.devices.power.meter import Absent, Rig
from harness.devices.watch import Watched
from harness.measurement.window import Span

NOTHING_RAN = "no window was run"


@dataclass(frozen=True)
class EnergyWindow:
    """Energy of one window.

    Attributes:
        batch: images of one query.
        seconds: of the window.
        inferences: images in it.
        rails: joules by rail.
        joules_per_inference: of the total's rails, an image; None where the sensor has no total, or did not answer.
        mean_watts: over the window, of the same rails.
        idle_watts: of the same rails with the engine loaded and no query, right before; None where it was not read.
    """

    batch: int
    seconds: float
    inferences: int
    rails: Mapping[str, float]
    joules_per_inference: float | None
    mean_watts: float | None
    idle_watts: float | None


@dataclass(frozen=True)
class Energy:
    """Energy by one sensor. What the first window says stands for the engine; None is explained in `reason`.

    Attributes:
        joules_per_inference: see `EnergyWindow`, as all up to `inferences`.
        source: the sensor: nvml, ina3221, rapl.
        rails: joules by rail.
        reason: why there is no sensor, or no total.
        rail_set: what the rails are; numbers of different sets are not to be compared.
        batch: images of one query.
        mean_watts: see `EnergyWindow`.
        idle_watts: see `EnergyWindow`.
        windows: every batch size's.
    """

    joules_per_inference: float | None = None
    source: str | None = None
    rails: Mapping[str, float] | None = None
    reason: str | None = NOTHING_RAN
    rail_set: str | None = None
    batch: int | None = None
    mean_watts: float | None = None
    idle_watts: float | None = None
    windows: tuple[EnergyWindow, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return {**asdict(self), "windows": [asdict(window) for window in self.windows]}


def energy_window(rig: Rig, watched: Watched, span: Span, batch: int, idle: Mapping[str, float] | None) -> EnergyWindow:
    """Return the energy of a window.

    Args:
        rig: the sensor.
        watched: with the mean power.
        span: the window.
        batch: images of one query.
        idle: watts by rail with the engine loaded and no query; None where nothing tells.
    """
    watts = watched.watts or {}
    mean = _sum(watts, rig.total)
    images = span.queries * batch
    return EnergyWindow(
        batch=batch,
        seconds=span.seconds,
        inferences=images,
        rails={rail: value * span.seconds for rail, value in watts.items()},
        joules_per_inference=None if mean is None else mean * span.seconds / images,
        mean_watts=mean,
        idle_watts=None if idle is None else _sum(idle, rig.total),
    )


def told(rig: Rig | Absent, windows: Sequence[EnergyWindow]) -> Energy:
    """Return what a measurement says of energy."""
    if isinstance(rig, Absent):
        return Energy(reason=rig.reason)
    if not windows:
        return Energy(source=rig.source, rail_set=rig.rail_set)
    first = windows[0]
    silent = None if first.rails else f"the sensor {rig.source} did not answer during the window"
    return Energy(
        joules_per_inference=first.joules_per_inference,
        source=rig.source,
        rails=first.rails,
        reason=rig.reason or silent,
        rail_set=rig.rail_set,
        batch=first.batch,
        mean_watts=first.mean_watts,
        idle_watts=first.idle_watts,
        windows=tuple(windows),
    )


def _sum(rails: Mapping[str, float], total: Sequence[str]) -> float | None:
    """Add up the total's rails; None where there are none, or one did not answer."""
    return sum(rails[rail] for rail in total) if total and all(rail in rails for rail in total) else None
