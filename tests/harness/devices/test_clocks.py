from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.clocks import Clock, cpu_clock, jetson_gpu_clock
from harness.devices.temperatures import temperatures_c
from tests.harness.devices.recorded_orin import record

pytestmark = pytest.mark.core


def test_an_orins_clocks_are_read_with_their_limits(tmp_path: Path) -> None:
    root = record(tmp_path)
    assert cpu_clock(root) == Clock(1113.6, 729.6, 1510.4, 1728.0)
    assert jetson_gpu_clock(root) == Clock(306.0, 306.0, 612.0, 1020.0)


def test_the_widest_limits_of_any_core_count(tmp_path: Path) -> None:
    root = record(tmp_path, sys__devices__system__cpu__cpu5__cpufreq__scaling_max_freq="1728000")
    assert cpu_clock(root).highest_mhz == 1728.0


@pytest.mark.parametrize(
    ("clock", "is_limited", "is_free"),
    [
        (Clock(306, 306, 612, 1020), True, True),
        (Clock(1020, 1020, 1020, 1020), False, False),
        (Clock(500, 306, 1020, 1020), False, True),
        (Clock(612, 612, 612, 1020), True, False),
        (Clock(306), False, False),
        (Clock(306, highest_mhz=612), False, False),
    ],
)
def test_a_clock_is_limited_below_what_is_possible_and_free_between_its_limits(
    clock: Clock, is_limited: bool, is_free: bool
) -> None:
    assert (clock.is_limited, clock.is_free) == (is_limited, is_free)


def test_a_zone_that_is_switched_off_has_no_temperature(tmp_path: Path) -> None:
    assert temperatures_c(record(tmp_path)) == {"cpu-thermal": 51.0, "gpu-thermal": 49.5}


def test_of_zones_with_one_name_the_hottest_is_told(tmp_path: Path) -> None:
    root = record(tmp_path, sys__class__thermal__thermal_zone1__type="cpu-thermal")
    assert temperatures_c(root) == {"cpu-thermal": 51.0}


def test_an_empty_tree_tells_nothing(tmp_path: Path) -> None:
    assert cpu_clock(tmp_path) == jetson_gpu_clock(tmp_path) == Clock()
    assert temperatures_c(tmp_path) == {}
