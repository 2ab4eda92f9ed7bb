from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.errors import InputError
from harness.measurement import own_memory as memory
from harness.measurement.measurement import summarise

pytestmark = pytest.mark.core


def test_a_summary_states_what_its_queries_carry() -> None:
    latency = summarise(8, 2, np.arange(130, 0, -1.0), 10.0, ())
    assert (latency.n, latency.batch, latency.threads, latency.valid) == (130, 8, 2, True)
    assert (latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms) == (65.0, 117.0, 124.0, None)
    assert latency.mean_ms == 65.5
    assert latency.throughput_per_s == 8 * 130 / 10.0  # what passed between queries counts
    assert latency.reasons == ()
    assert latency.percentiles_reason == "130 queries do not carry percentile 99, which need 662: take a longer profile"


def test_a_long_window_has_no_reasons() -> None:
    latency = summarise(1, 0, np.ones(662), 1.0, ())
    assert latency.p99_ms == 1.0 and latency.reasons == () and latency.percentiles_reason is None


def test_a_fault_makes_the_window_invalid_and_keeps_its_numbers() -> None:
    latency = summarise(1, 0, np.ones(662), 1.0, ("the fan stopped",))
    assert not latency.valid and latency.reasons == ("the fan stopped",) and latency.mean_ms == 1.0


@pytest.mark.parametrize("times_ms", [[], [1.0, 0.0], [1.0, float("nan")]])
def test_times_that_cannot_be_are_refused(times_ms: list[float]) -> None:
    with pytest.raises(InputError, match="positive time"):
        summarise(1, 0, np.array(times_ms), 1.0, ())


def test_peak_memory_holds_what_was_freed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    block = np.ones(64 << 20, np.uint8)
    during = memory.resident_bytes()
    del block
    assert memory.peak_resident_bytes() > during - (1 << 20)  # the kernel counts by processor and sums up late
    assert during > 64 << 20
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")  # a system without /proc
    assert memory.peak_resident_bytes() >= 64 << 20
    assert memory.resident_bytes() > 1 << 20


def test_memory_is_read_in_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    monkeypatch.setattr(memory, "STATUS", status)
    assert (memory.peak_resident_bytes(), memory.resident_bytes()) == (2048 * 1024, 1024 * 1024)


def test_bounds_stand_beside_the_percentiles_that_n_carries() -> None:
    latency = summarise(1, 1, np.arange(1.0, 201.0), 1.0, ())
    assert latency.p90_ms is not None and latency.p90_bound_ms is not None and latency.p90_bound_ms > latency.p90_ms
    assert latency.p99_ms is None and latency.p99_bound_ms is None
