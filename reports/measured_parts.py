"""The parts of the result document that were measured on the device."""

from __future__ import annotations

from reports.part import Count, Part


class Spans(Part):
    """Where a query's time goes on a GPU, as trtexec defines it: medians by its events and of the enqueue call."""

    h2d_ms: float
    compute_ms: float
    d2h_ms: float
    enqueue_ms: float


class Latency(Part):
    """Times of one query of `batch` images. A percentile that n does not carry is None."""

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
    cuda_graph: bool = False
    spans: Spans | None = None


class Memory(Part):
    """Sizes in bytes; host and device are never added."""

    engine_bytes: Count
    weights_bytes: Count
    device_peak_bytes: Count | None
    process_peak_bytes: Count | None
    baseline_bytes: Count | None
    reasons: tuple[str, ...] = ()


class Energy(Part):
    """Energy of one image's inference."""

    joules_per_inference: float | None
    source: str | None
    rails: dict[str, float] | None
    reason: str | None


class DeviceState(Part):
    """The device's state around the measurement."""

    before: dict[str, float | str | None]
    after: dict[str, float | str | None]
    valid: bool | None
    reasons: tuple[str, ...]
