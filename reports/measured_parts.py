"""The parts of the result document that were measured on the device."""

from __future__ import annotations

from typing import Literal

from reports.part import Count, Part


class Spans(Part):
    """Where a query's time goes on a GPU, as trtexec defines it: medians by its events and of the enqueue call."""

    h2d_ms: float
    compute_ms: float
    d2h_ms: float
    enqueue_ms: float


class Latency(Part):
    """Times of one query of `batch` images. A percentile that n does not carry is None.

    Beside a percentile stands a bound above it that holds with 99 % confidence, by the early stopping of LoadGen.
    """

    batch: Count
    n: Count
    threads: Count
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
    warm_up_queries: Count | None = None
    cores: tuple[Count, ...] = ()
    cuda_graph: bool = False
    spans: Spans | None = None


class Ratio(Part):
    """A ratio of latencies and its 99 % interval."""

    value: float
    ci99: tuple[float, float]


class Against(Part):
    """This engine beside another one, windows in turn: `ratio` below 1 is faster.

    `left_out` pairs had a busy neighbour. `reason` says why nothing is concluded.
    """

    backend: str
    precision: str
    sha256: str
    batch: Count
    pairs: Count
    left_out: Count
    window_s: float
    ratio: Ratio | None
    verdict: Literal["faster", "slower", "inconclusive"]
    reason: str | None


class MemoryWindow(Part):
    """The measuring process of one batch size."""

    batch: Count
    process_peak_bytes: Count
    baseline_bytes: Count
    device_peak_bytes: Count | None


class Memory(Part):
    """Sizes in bytes; host and device are never added. Of several batch sizes, the one whose process grew largest."""

    engine_bytes: Count
    weights_bytes: Count
    device_peak_bytes: Count | None
    process_peak_bytes: Count | None
    baseline_bytes: Count | None
    reasons: tuple[str, ...] = ()
    windows: tuple[MemoryWindow, ...] = ()


class EnergyWindow(Part):
    """Energy of one window, in joules; watts of the same rails, idle with the engine loaded and no query."""

    batch: Count
    seconds: float
    inferences: Count
    rails: dict[str, float]
    joules_per_inference: float | None
    mean_watts: float | None
    idle_watts: float | None


class Energy(Part):
    """Energy of one image's inference, by one sensor; the first window's stands for the engine."""

    joules_per_inference: float | None
    source: str | None
    rails: dict[str, float] | None
    reason: str | None
    rail_set: str | None = None
    batch: Count | None = None
    mean_watts: float | None = None
    idle_watts: float | None = None
    windows: tuple[EnergyWindow, ...] = ()


class Summary(Part):
    """What one quantity did during a window."""

    min: float
    mean: float
    max: float


class DeviceWindow(Part):
    """The device around and during the window of one batch size.

    `samples` were taken, on cores that were not measured where `watched_beside`; that took `watcher_cpu_s` of CPU time.
    """

    batch: Count
    before: dict[str, float | str | None]
    during: dict[str, Summary]
    after: dict[str, float | str | None]
    samples: Count
    watched_beside: bool
    watcher_cpu_s: float
    valid: bool
    reasons: tuple[str, ...]


class DeviceState(Part):
    """The device's state around the measurement: before the first window, after the last, and of each."""

    before: dict[str, float | str | None]
    after: dict[str, float | str | None]
    valid: bool | None
    reasons: tuple[str, ...]
    windows: tuple[DeviceWindow, ...] = ()
