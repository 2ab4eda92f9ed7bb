"""What measuring one engine gives, in parts that carry the result document's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from contracts.errors import InputError
from harness.devices.watch import Watched
from harness.measurement.early_stopping import upper_bound
from harness.measurement.energy import Energy
from harness.measurement.memory import Memory
from harness.measurement.percentiles import MINIMUM_QUERIES, Times, carried_percentile


@dataclass(frozen=True)
class Latency:
    """Times of one query of `batch` images.

    Attributes:
        batch: images of one query.
        n: queries in the window.
        threads: CPU threads asked for; 0 left that to the runtime.
        p50_ms: percentiles by trtexec's rule; None where n queries do not carry one, with the reason in `reasons`.
        p90_ms: see p50_ms.
        p95_ms: see p50_ms.
        p99_ms: see p50_ms.
        mean_ms: mean over every query, none clipped.
        throughput_per_s: images a second of the window, what passed between queries included.
        valid: whether the window can be believed.
        reasons: why it is not valid.
        percentiles_reason: why a percentile is None, or None where all are stated.
        p90_bound_ms: bound above the percentile that holds with 99 % confidence, see `early_stopping`; None as p90_ms.
        p95_bound_ms: see p90_bound_ms.
        p99_bound_ms: see p90_bound_ms.
        window_s: how long the window was.
        warm_up_queries: how many queries warmed up before it.
        cores: numbers of the cores that the process was held to; empty where it was not.
        cuda_graph: whether queries ran as CUDA graphs, where the runtime has them.
        spans: medians of where a query's time goes on a GPU, see `WorkerResult`; None where the runtime does not tell.
    """

    batch: int
    n: int
    threads: int
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_ms: float
    throughput_per_s: float
    valid: bool
    reasons: tuple[str, ...]
    percentiles_reason: str | None = None
    p90_bound_ms: float | None = None
    p95_bound_ms: float | None = None
    p99_bound_ms: float | None = None
    window_s: float | None = None
    warm_up_queries: int | None = None
    cores: tuple[int, ...] = ()
    cuda_graph: bool = False
    spans: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return {**asdict(self), "reasons": list(self.reasons), "cores": list(self.cores)}


@dataclass(frozen=True)
class MeasurementFailed:
    """A batch size without a measurement, and why, in one sentence."""

    batch: int
    reason: str


@dataclass(frozen=True)
class WindowDevice:
    """The device around and during the window of one batch size.

    Attributes:
        batch: images of one query.
        watched: what was seen.
        reasons: why the window is not valid; none where it is.
    """

    batch: int
    watched: Watched
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        watched = self.watched
        return {
            "batch": self.batch,
            "before": dict(watched.before),
            "during": {name: asdict(summary) for name, summary in watched.during.items()},
            "after": dict(watched.after),
            "samples": len(watched.at_s),
            "watched_beside": watched.beside,
            "watcher_cpu_s": watched.watcher_cpu_s,
            "valid": not self.reasons,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class DeviceState:
    """The device over all windows: before the first, after the last, valid if every window was."""

    windows: tuple[WindowDevice, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why windows are not valid, each reason once."""
        return tuple(dict.fromkeys(reason for window in self.windows for reason in window.reasons))

    @property
    def valid(self) -> bool:
        """Whether every window was."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        first, last = (self.windows[0].watched, self.windows[-1].watched) if self.windows else (None, None)
        return {
            "before": dict(first.before) if first else {},
            "after": dict(last.after) if last else {},
            "valid": self.valid,
            "reasons": list(self.reasons),
            "windows": [window.to_json() for window in self.windows],
        }


@dataclass(frozen=True)
class Measurement:
    """One engine on this device.

    Attributes:
        latencies: one for each batch size that was measured, in the order asked for.
        failures: one for each batch size that was not.
        times_ms: for each measured batch size every query's time: float64, shape (n,), in the order of the queries.
        memory: of the batch size whose process grew largest.
        energy: of one image.
        device: around and during every window.
    """

    latencies: tuple[Latency, ...]
    failures: tuple[MeasurementFailed, ...]
    times_ms: Mapping[int, Times]
    memory: Memory
    energy: Energy
    device: DeviceState

    @property
    def reason(self) -> str | None:
        """Why batch sizes are missing, or None when all were measured."""
        return "; ".join(failure.reason for failure in self.failures) or None


def summarise(batch: int, threads: int, times_ms: Times, window_s: float, faults: tuple[str, ...]) -> Latency:
    """Summarise the times of one window.

    Args:
        batch: images of one query.
        threads: CPU threads asked for.
        times_ms: float64, shape (n,), n >= 1, positive.
        window_s: how long the window was, positive.
        faults: why the window is not valid; none if it is.

    Raises:
        InputError: there is no time, or one that is not positive and finite.
    """
    if len(times_ms) == 0 or not np.isfinite(times_ms).all() or times_ms.min() <= 0:
        raise InputError("a window must hold at least one query, each with a positive time")
    ordered = np.sort(times_ms)
    return Latency(
        batch=batch,
        n=len(times_ms),
        threads=threads,
        p50_ms=carried_percentile(ordered, 50),
        p90_ms=carried_percentile(ordered, 90),
        p95_ms=carried_percentile(ordered, 95),
        p99_ms=carried_percentile(ordered, 99),
        mean_ms=float(np.mean(times_ms)),
        throughput_per_s=batch * len(times_ms) / window_s,
        valid=not faults,
        reasons=faults,
        percentiles_reason=_missing_percentiles(len(times_ms)),
        p90_bound_ms=upper_bound(ordered, 90),
        p95_bound_ms=upper_bound(ordered, 95),
        p99_bound_ms=upper_bound(ordered, 99),
        window_s=window_s,
    )


def _missing_percentiles(n: int) -> str | None:
    missing = {p: needed for p, needed in MINIMUM_QUERIES.items() if n < needed}
    if not missing:
        return None
    names, needs = (", ".join(map(str, numbers)) for numbers in (missing, missing.values()))
    plural = "s" if len(missing) > 1 else ""
    return f"{n} queries do not carry percentile{plural} {names}, which need {needs}: take a longer profile"
