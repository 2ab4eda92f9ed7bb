from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.devices import watch
from harness.devices.cpu import usable_cores
from harness.devices.machine import THIS_MACHINE, Machine
from harness.devices.power.meter import Meter, Rig
from harness.devices.watch import FOREIGN, Watch

from .recorded_orin import record

pytestmark = pytest.mark.core

CLOCK = "sys/class/devfreq/17000000.gpu/cur_freq"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL_S", 0.05)


def test_what_moves_during_the_window_is_seen(tmp_path: Path) -> None:
    machine = Machine(record(tmp_path))
    with Watch(machine, (), os.getpid()) as seen:
        time.sleep(0.15)
        (tmp_path / CLOCK).write_text("612000000\n")
        time.sleep(0.15)
        (tmp_path / CLOCK).write_text("306000000\n")
        time.sleep(0.15)
    found = seen.watched
    clock = found.during["gpu_clock_mhz"]
    assert (clock.min, clock.max) == (306.0, 612.0) and clock.min < clock.mean < clock.max
    assert found.before["gpu_clock_mhz"] == found.after["gpu_clock_mhz"] == 306.0
    assert len(found.at_s) == len(found.series["gpu_clock_mhz"]) >= 4
    assert list(found.at_s) == sorted(found.at_s)


def test_watching_costs_little_and_tells_what(tmp_path: Path) -> None:
    with Watch(THIS_MACHINE, (), os.getpid()) as seen:
        time.sleep(0.5)
    assert 0 < seen.watched.watcher_cpu_s < 0.25


def test_even_a_short_window_has_a_sample(tmp_path: Path) -> None:
    with Watch(Machine(record(tmp_path)), (), os.getpid()) as seen:
        pass
    assert len(seen.watched.at_s) >= 1
    assert not math.isnan(seen.watched.series["gpu_clock_mhz"][0])


@contextmanager
def busy_process(core: int) -> Iterator[int]:
    """Keep one core busy by another program; yield its number."""
    program = f"import os\nos.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline()
        yield other.pid
    finally:
        other.kill()
        other.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel counts cores and processes in /proc on Linux only")
def test_a_neighbour_that_starts_in_the_window_is_seen_and_the_measured_process_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "INTERVAL_S", 0.3)
    core = usable_cores()[-1]
    with Watch(THIS_MACHINE, (core,), os.getpid()) as seen, busy_process(core):
        time.sleep(1.0)
    foreign = seen.watched.during[FOREIGN]
    assert foreign.max > 0.5
    with busy_process(core) as measured, Watch(THIS_MACHINE, (core,), measured) as seen:
        time.sleep(1.0)
    # What else runs on this machine meanwhile shares the core with it.
    own = seen.watched.during[FOREIGN]
    assert own.mean < foreign.max


def test_energy_is_that_of_the_time_between(tmp_path: Path) -> None:
    now = [0.0]
    counter = [100.0]
    meter = Meter(Rig("planted", "all", ("all",), joules=lambda: {"all": counter[0]}), lambda: now[0])
    counter[0] = 110.0  # before the window
    with Watch(Machine(tmp_path), (), os.getpid(), meter) as seen:
        counter[0], now[0] = 125.0, 3.0
    assert seen.watched.watts == {"all": 5.0}


def test_the_tick_is_told_how_long_it_has_been(tmp_path: Path) -> None:
    told: list[float] = []
    with Watch(Machine(tmp_path), (), os.getpid(), tick=told.append):
        time.sleep(0.2)
    assert told == sorted(told) and told and told[-1] <= 0.3
    assert threading.active_count() >= 1
