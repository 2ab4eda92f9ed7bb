"""States that are planted while an engine is measured: recorded trees that change meanwhile, a real neighbour."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.backend import EngineManifest
from harness.devices import watch
from harness.devices.machine import THIS_MACHINE, Machine
from harness.devices.nvidia import RECORDED
from harness.measurement import client
from harness.measurement.client import Request, measure_engine
from harness.measurement.measurement import Measurement
from harness.measurement.window import PROFILES
from tests.harness.devices.power.test_sensors import AGX, NANO, write
from tests.harness.devices.recorded_orin import record

pytestmark = pytest.mark.core

HERE = Path(__file__).parent
MANIFEST = EngineManifest("onnxruntime", "1", "fp32", (1, 4, 4), 2, weights_bytes=10, engine_bytes=20, options={})

Change = Callable[[], None]


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setitem(PROFILES, "quick", 0.4)
    monkeypatch.setattr(watch, "INTERVAL_S", 0.05)
    monkeypatch.setattr(client, "IDLE_S", 0.1)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return record(tmp_path / "board")


class InTheWindow:
    """Progress that is shown only while the window is open: the first time, something happens."""

    def __init__(self, change: Change) -> None:
        self._change: Change | None = change

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Callable[[float], None]]:
        yield self._advance

    def _advance(self, _: float) -> None:
        if self._change is not None:
            change, self._change = self._change, None
            change()


def measured(folder: Path, machine: Machine, change: Change = lambda: None) -> Measurement:
    engine = folder / "fake-fp32"
    engine.mkdir()
    (engine / "manifest.json").write_text(json.dumps({"engine": MANIFEST.to_json()}))
    request = Request(engine, (1,), "quick", 1, loader="measured_fakes:summing", machine=machine)
    return measure_engine(request, folder / "scratch", InTheWindow(change))


def test_a_steady_board_is_valid_and_its_rails_tell_the_energy(tmp_path: Path, board: Path) -> None:
    found = measured(tmp_path, Machine(write(board, NANO)))
    assert found.device.valid and found.latencies[0].valid
    energy = found.energy
    assert (energy.source, energy.rail_set) == ("ina3221", "VDD_IN, the whole module")
    assert (energy.mean_watts, energy.idle_watts) == pytest.approx((6.0, 6.0))  # what it contains is not added
    latency = found.latencies[0]
    assert latency.window_s is not None
    assert energy.joules_per_inference == pytest.approx(6.0 * latency.window_s / latency.n)
    assert energy.rails == pytest.approx(
        {rail: watts * latency.window_s for rail, watts in (("VDD_IN", 6), ("VDD_CPU_GPU_CV", 2), ("VDD_SOC", 1.5))}
    )


def test_power_that_rises_in_the_window_is_in_the_energy(tmp_path: Path, board: Path) -> None:
    def load() -> None:
        write(board, {"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input": 2400})

    energy = measured(tmp_path, Machine(write(board, NANO)), load).energy
    assert energy.idle_watts == pytest.approx(6.0)
    assert energy.mean_watts is not None and 8.0 < energy.mean_watts < 12.0


def test_a_board_without_a_total_rail_has_rails_and_no_total(tmp_path: Path, board: Path) -> None:
    energy = measured(tmp_path, Machine(write(board, AGX))).energy
    assert energy.joules_per_inference is None and energy.mean_watts is None
    assert "no rail for the whole module" in (energy.reason or "")
    assert set(energy.rails or {}) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}


def test_nvml_that_supports_nothing_leaves_the_board_to_its_own_sensors(tmp_path: Path, board: Path) -> None:
    (board / RECORDED).write_text(json.dumps({"name": "Orin (nvgpu)", "driver": "540.4.0"}))
    found = measured(tmp_path, Machine(write(board, NANO)))
    assert found.energy.source == "ina3221" and found.device.windows[0].watched.before["gpu_clock_mhz"] == 306.0


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("sys/class/hwmon/hwmon1/oc1_event_cnt", "4", "the board throttled 2 times during the window"),
        ("var/lib/nvpmodel/status", "pmode:0002", "the power mode changed from 15W to MAXN_SUPER"),
        ("sys/class/devfreq/17000000.gpu/cur_freq", "612000000", "the GPU's clock moved from "),
    ],
)
def test_what_changes_on_the_board_in_the_window_spoils_it(
    tmp_path: Path, board: Path, path: str, text: str, reason: str
) -> None:
    def change() -> None:
        (board / path).write_text(text)

    found = measured(tmp_path, Machine(board), change)
    assert not found.device.valid and not found.latencies[0].valid
    assert any(reason in each for each in found.device.reasons), found.device.reasons
    assert found.latencies[0].p50_ms is not None  # it keeps its numbers


def test_a_governor_that_changes_in_the_window_spoils_it(tmp_path: Path, board: Path) -> None:
    def change() -> None:
        for core in range(6):
            (board / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor").write_text("powersave\n")

    found = measured(tmp_path, Machine(board), change)
    assert any("governor changed from schedutil to powersave" in each for each in found.device.reasons)


def test_a_machine_without_sensors_says_so_and_is_not_spoiled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = measured(tmp_path, Machine(tmp_path / "empty"))
    assert found.device.valid
    assert found.energy.joules_per_inference is None and found.energy.source is None and found.energy.reason


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel counts cores in /proc on Linux only")
def test_a_busy_neighbour_that_starts_in_the_window_spoils_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "quick", 1.5)
    others: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        program = "import os\nfor core in os.sched_getaffinity(0):\n  os.fork() or exec('while True: pass')"
        others.append(subprocess.Popen([sys.executable, "-c", program], start_new_session=True))

    try:
        found = measured(tmp_path, THIS_MACHINE, start)
    finally:
        for other in others:
            os.killpg(other.pid, signal.SIGKILL)
            other.wait()
    assert not found.latencies[0].valid
    assert any("of the measured cores during the window" in reason for reason in found.device.reasons)
