from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from engines.backend import EngineManifest
from harness.measurement.client import Request, measure_engine
from harness.measurement.measurement import Measurement
from harness.measurement.window import PROFILES
from harness.progress import Silent

pytestmark = pytest.mark.core

HERE = Path(__file__).parent
MANIFEST = EngineManifest("onnxruntime", "1", "fp32", (1, 4, 4), 2, weights_bytes=10, engine_bytes=20, options={})


def _engine(parent: Path) -> Path:
    folder = parent / "fake-fp32"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"engine": MANIFEST.to_json()}))
    return folder


def _set_stage(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("PYTHONPATH", str(HERE))
    patch.setitem(PROFILES, "quick", 0.3)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _set_stage(monkeypatch)
    return _engine(tmp_path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Measurement]:
    """An engine's folder and its measurement at batches 1 and 3."""
    folder = _engine(tmp_path_factory.mktemp("measured"))
    with pytest.MonkeyPatch.context() as patch:
        _set_stage(patch)
        return folder, _measure(folder, "summing", batches=(1, 3))


def _measure(folder: Path, fake: str, *, batches: tuple[int, ...] = (2,), deadline_s: float = 60.0) -> Measurement:
    request = Request(folder, batches, "quick", 1, loader=f"measured_fakes:{fake}", deadline_s=deadline_s)
    return measure_engine(request, folder.parent / "scratch", Silent())


def test_each_batch_is_measured_in_a_process_of_its_own(measured: tuple[Path, Measurement]) -> None:
    folder, measurement = measured
    assert measurement.reason is None
    assert [latency.batch for latency in measurement.latencies] == [1, 3]
    for latency in measurement.latencies:
        times_ms = measurement.times_ms[latency.batch]
        assert latency.n == len(times_ms) >= 10
        assert times_ms.min() >= 2.0  # a query sleeps for 2 ms
        assert latency.p50_ms is not None and times_ms.min() <= latency.p50_ms <= times_ms.max()
        assert latency.p99_ms is None and "do not carry" in (latency.percentiles_reason or "")
        assert latency.window_s is not None and latency.window_s >= times_ms.sum() / 1000
        assert latency.throughput_per_s == pytest.approx(latency.batch * latency.n / latency.window_s)
        assert not any("torch" in reason for reason in latency.reasons)
    pids = (folder / "pids").read_text().split()
    assert len({*pids, str(os.getpid())}) == 3
    assert (folder / "put-away").exists()
    assert list((folder.parent / "scratch").iterdir()) == []


def test_the_images_are_the_same_random_ones_every_time(measured: tuple[Path, Measurement]) -> None:
    images = np.load(measured[0] / "images.npy")
    np.testing.assert_array_equal(images, np.random.default_rng(0).random((3, 1, 4, 4), dtype=np.float32))


def test_memory_is_that_of_the_measuring_process(measured: tuple[Path, Measurement]) -> None:
    memory = measured[1].memory
    assert (memory.engine_bytes, memory.weights_bytes) == (20, 10)
    assert memory.baseline_bytes is not None and memory.process_peak_bytes is not None
    assert 1 << 20 < memory.baseline_bytes <= memory.process_peak_bytes < 1 << 30
    assert memory.device_peak_bytes is None and memory.reasons


def test_the_parts_carry_the_documents_names(measured: tuple[Path, Measurement]) -> None:
    from reports.measured_parts import DeviceState, Energy, Latency, Memory
    from reports.part import Part

    _, measurement = measured
    pairs: list[tuple[type[Part], dict[str, Any]]] = [
        (Latency, measurement.latencies[0].to_json()),
        (Memory, measurement.memory.to_json()),
        (Energy, measurement.energy.to_json()),
        (DeviceState, measurement.device.to_json()),
    ]
    for part, value in pairs:
        assert set(part.model_fields) == set(value)
        assert json.loads(part.model_validate(value).model_dump_json()) == value


def test_what_a_runtime_prints_is_no_answer(engine: Path) -> None:
    measurement = _measure(engine, "babbling")
    assert measurement.reason is None and len(measurement.latencies) == 1


@pytest.mark.parametrize(
    ("fake", "deadline_s", "sentence"),
    [
        (
            "aborting",
            60.0,
            "batch 2, warming up, crashed with SIGABRT, its last words: the runtime's last words",
        ),
        ("hanging", 2.0, "batch 2, warming up, gave no answer within 2 s and was stopped"),
        ("faulty", 60.0, "batch 2, loading the engine, failed: RuntimeError: no such kernel"),
        ("absent", 60.0, "batch 2, loading the engine, failed: AttributeError"),
    ],
)
def test_a_worker_without_an_answer_gives_a_sentence(engine: Path, fake: str, deadline_s: float, sentence: str) -> None:
    measurement = _measure(engine, fake, deadline_s=deadline_s)
    assert measurement.latencies == () and not measurement.times_ms
    assert measurement.reason is not None
    assert measurement.reason.startswith(f"the measuring process of fake-fp32 at {sentence}")
    assert measurement.memory.process_peak_bytes is None and measurement.memory.reasons
    assert measurement.device.windows == () and measurement.device.to_json()["before"] == {}


def test_one_refused_batch_does_not_cost_the_others(engine: Path) -> None:
    measurement = _measure(engine, "refusing", batches=(8, 4))
    assert [latency.batch for latency in measurement.latencies] == [4]
    assert [failure.batch for failure in measurement.failures] == [8]
    assert measurement.reason is not None and measurement.reason.endswith("use a smaller batch")


class Recorded:
    """Adds up what each bar was moved on by."""

    def __init__(self) -> None:
        self.bars: list[tuple[float, list[float]]] = []

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Callable[[float], None]]:
        steps: list[float] = []
        self.bars.append((total, steps))
        yield steps.append


def test_progress_fills_its_bar_and_never_falls_back(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "quick", 1.2)
    progress = Recorded()
    measure_engine(Request(engine, [1], "quick", 0, loader="measured_fakes:summing"), engine.parent, progress)
    ((total, steps),) = progress.bars
    assert sum(steps) == pytest.approx(total) and min(steps) >= 0
    assert 2 <= len(steps) <= 4


@pytest.mark.parametrize(
    ("batches", "profile", "threads", "message"),
    [
        ([1], "quik", 1, "did you mean 'quick'"),
        ([], "quick", 1, "distinct batch sizes"),
        ([0], "quick", 1, "distinct batch sizes"),
        ([1, 1], "quick", 1, "distinct batch sizes"),
        ([1], "quick", -1, "distinct batch sizes"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(
    engine: Path, batches: list[int], profile: str, threads: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        measure_engine(Request(engine, batches, profile, threads), engine.parent, Silent())


def test_a_folder_without_an_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no engine"):
        measure_engine(Request(tmp_path, [1], "quick", 1), tmp_path, Silent())


PARENT = """
import sys
from pathlib import Path
from harness.measurement.client import Request, measure_engine
from harness.progress import Silent
folder = Path(sys.argv[1])
request = Request(folder, [1], "quick", 1, loader="measured_fakes:hanging")
measure_engine(request, folder.parent / "scratch", Silent())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death on Linux only")
def _hear_interrupts() -> None:
    # Children of a script's background ignore Ctrl-C unless told otherwise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("blow", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_worker_dies_with_its_parent_however_that_ends(engine: Path, blow: signal.Signals, code: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(engine)], stderr=subprocess.DEVNULL, preexec_fn=_hear_interrupts
    )
    try:
        worker = _await_worker(engine, parent)
        parent.send_signal(blow)
        assert parent.wait(timeout=30) == code
        assert _gone(worker)
    finally:
        parent.kill()
        parent.wait()


def _await_worker(engine: Path, parent: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and parent.poll() is None:
        if (engine / "images.npy").exists():  # bound: the next thing it does is hang
            return int((engine / "pids").read_text())
        time.sleep(0.05)
    raise AssertionError("the worker never loaded its engine")


def _gone(pid: int) -> bool:
    """Say whether the process is dead, or dead but not yet reaped, before long."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if stat.rpartition(")")[2].split()[0] in {"Z", "X"}:
            return True
        time.sleep(0.05)
    return False
