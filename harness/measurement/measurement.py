"""What measuring one engine gives, in parts that carry the result document's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from contracts.errors import InputError
from harness.devices.state import DeviceState
from harness.measurement.energy import Energy
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
        throughput_per_s: images a second of time spent in queries.
        valid: whether the window can be believed.
        reasons: why it is not valid, and why a percentile is None (which alone does not make it invalid).
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
    cuda_graph: bool = False
    spans: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return {**asdict(self), "reasons": list(self.reasons)}


@dataclass(frozen=True)
class MeasurementFailed:
    """A batch size without a measurement, and why, in one sentence."""

    batch: int
    reason: str


@dataclass(frozen=True)
class Memory:
    """Sizes in bytes; host and device are never added. None is explained in `reasons`.

    Attributes:
        engine_bytes: the engine's files.
        weights_bytes: the constants inside the engine.
        device_peak_bytes: growth of the GPU's used memory from before loading to the window's end.
        process_peak_bytes: most resident memory of the measuring process.
        baseline_bytes: the same process with the runtime imported and no engine loaded.
        reasons: why a size is None.
    """

    engine_bytes: int
    weights_bytes: int
    device_peak_bytes: int | None
    process_peak_bytes: int | None
    baseline_bytes: int | None
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return {**asdict(self), "reasons": list(self.reasons)}


@dataclass(frozen=True)
class Measurement:
    """One engine on this device.

    Attributes:
        latencies: one for each batch size that was measured, in the order asked for.
        failures: one for each batch size that was not.
        times_ms: for each measured batch size every query's time: float64, shape (n,), in the order of the queries.
        memory: of the batch size whose process grew largest.
        energy: of one image.
        device: before the first window and after the last; valid if every window was.
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


def summarise(batch: int, threads: int, times_ms: Times, faults: tuple[str, ...]) -> Latency:
    """Summarise the times of one window.

    Args:
        batch: images of one query.
        threads: CPU threads asked for.
        times_ms: float64, shape (n,), n >= 1, positive.
        faults: why the window is not valid; none if it is.

    Raises:
        InputError: there is no time, or one that is not positive and finite.
    """
    if len(times_ms) == 0 or not np.isfinite(times_ms).all() or times_ms.min() <= 0:
        raise InputError("a window must hold at least one query, each with a positive time")
    ordered = np.sort(times_ms)
    mean_ms = float(np.mean(times_ms))
    return Latency(
        batch=batch,
        n=len(times_ms),
        threads=threads,
        p50_ms=carried_percentile(ordered, 50),
        p90_ms=carried_percentile(ordered, 90),
        p95_ms=carried_percentile(ordered, 95),
        p99_ms=carried_percentile(ordered, 99),
        mean_ms=mean_ms,
        throughput_per_s=1000 * batch / mean_ms,
        valid=not faults,
        reasons=(*faults, *_missing_percentiles(len(times_ms))),
    )


def _missing_percentiles(n: int) -> tuple[str, ...]:
    missing = {p: needed for p, needed in MINIMUM_QUERIES.items() if n < needed}
    if not missing:
        return ()
    names, needs = (", ".join(map(str, numbers)) for numbers in (missing, missing.values()))
    plural = "s" if len(missing) > 1 else ""
    return (f"{n} queries do not carry percentile{plural} {names}, which need {needs}: take a longer profile",)
