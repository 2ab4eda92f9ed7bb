from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.devices.machine import Machine
from harness.devices.state import read_moment, read_state

from .recorded_orin import record

pytestmark = pytest.mark.core


def test_this_machines_state_is_plain_json() -> None:
    state = read_state()
    assert json.loads(json.dumps(state, allow_nan=False)) == state


def test_an_empty_tree_has_every_key_and_no_value(tmp_path: Path) -> None:
    state = read_state(Machine(tmp_path))
    assert set(state.values()) == {None}
    assert set(state) <= set(read_state())


def test_every_zone_is_told_by_its_name(tmp_path: Path) -> None:
    state = read_state(Machine(record(tmp_path)))
    assert (state["temperature_cpu_thermal_c"], state["temperature_gpu_thermal_c"]) == (51.0, 49.5)
    assert "temperature_cv0_thermal_c" not in state  # it is switched off


def test_a_moment_has_what_moves(tmp_path: Path) -> None:
    moment = read_moment(Machine(record(tmp_path)))
    assert moment["cpu_frequency_mhz"] == 1113.6
    assert (moment["gpu_clock_mhz"], moment["gpu_temperature_c"]) == (306.0, 49.5)
    assert "gpu_throttle_bits" not in moment


def test_the_fastest_of_the_measured_cores_tells_the_clock(tmp_path: Path) -> None:
    """The others may idle, and their clocks fall."""
    cpufreq = "sys__devices__system__cpu__cpu{core}__cpufreq__scaling_cur_freq"
    root = record(tmp_path, **{cpufreq.format(core=2): "1510400", cpufreq.format(core=3): "1900000"})
    assert read_moment(Machine(root), cores=(1, 2))["cpu_frequency_mhz"] == 1510.4
