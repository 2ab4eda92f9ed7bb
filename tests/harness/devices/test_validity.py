from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harness.devices.state import State
from harness.devices.validity import RULES, doubts
from harness.devices.watch import FOREIGN, Watched

pytestmark = pytest.mark.core

CALM: State = {
    "governor": "performance",
    "busy_fraction": 0.02,
    "steal_fraction": 0.0,
    "cpu_total_s": 1000.0,
    "cpu_steal_s": 5.0,
    "quota_throttled": 3,
    "swapped_in_pages": 100,
    "gpu_throttle": "none",
    "gpu_power_violation_s": 1.0,
    "gpu_thermal_violation_s": 2.0,
    "power_mode": "15W",
    "throttle_events": 3.0,
}
STEADY: Mapping[str, Sequence[float]] = {
    "cpu_frequency_mhz": [2000.0] * 9,
    "gpu_clock_mhz": [1020.0] * 9,
    "gpu_throttle_bits": [1.0] * 9,
    FOREIGN: [0.05] * 9,
}


def watched(before: State, after: State, series: Mapping[str, Sequence[float]] = STEADY) -> Watched:
    return Watched(before, after, series, range(9), None, 0.01, beside=False)


def test_a_calm_device_is_valid() -> None:
    assert doubts(watched(CALM, {**CALM, "cpu_total_s": 1120.0, "cpu_steal_s": 6.0})) == ()


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({}, {"governor": "powersave"}, "governor changed from performance to powersave"),
        ({}, {"power_mode": "7W"}, "power mode changed from 15W to 7W"),
        ({"busy_fraction": 0.26}, {}, "other programs used 26% of the CPU before the window"),
        ({"steal_fraction": 0.06}, {}, "hypervisor took 6%"),
        ({}, {"steal_fraction": 0.5}, "hypervisor took 50%"),
        ({}, {"cpu_total_s": 1100.0, "cpu_steal_s": 15.0}, "hypervisor took 10%"),
        ({}, {"quota_throttled": 5}, "CPU quota stopped the process 2 times"),
        ({}, {"swapped_in_pages": 1100}, "1000 pages came back from swap"),
        ({"gpu_throttle": "software power cap"}, {}, "clocks were held down (software power cap)"),
        ({}, {"gpu_throttle": "hardware slowdown"}, "clocks were held down (hardware slowdown)"),
        ({}, {"gpu_power_violation_s": 1.5}, "clocks were held down (0.5 s for power)"),
        ({}, {"gpu_thermal_violation_s": 2.25}, "clocks were held down (0.25 s for heat)"),
        ({}, {"throttle_events": 5.0}, "the board throttled 2 times"),
    ],
)
def test_what_spoils_a_window_is_said_with_what_mends_it(before: State, after: State, reason: str) -> None:
    (found,) = doubts(watched({**CALM, **before}, {**CALM, **after}))
    assert reason in found
    assert "measur" in found  # every sentence ends with the way out


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ({FOREIGN: [0.0] * 4 + [0.5] * 5}, "other programs used 28% of the measured cores during the window"),
        ({"gpu_throttle_bits": [1.0] * 8 + [8.0]}, "clocks were held down (hardware slowdown)"),
        ({"gpu_clock_mhz": [1020.0] * 6 + [600.0] * 3}, "the GPU's clock moved from 600 to 1020 MHz"),
        ({"cpu_frequency_mhz": [2000.0] * 6 + [3000.0] * 3}, "the CPU's clock moved from 2000 to 3000 MHz"),
    ],
)
def test_what_happened_inside_the_window_spoils_it_too(series: dict[str, Any], reason: str) -> None:
    (found,) = doubts(watched(CALM, CALM, {**STEADY, **series}))
    assert reason in found and "measur" in found


def test_a_board_is_told_its_own_command() -> None:
    moving = {**STEADY, "gpu_clock_mhz": [306.0, 1020.0, 306.0]}
    assert "sudo jetson_clocks" in doubts(watched(CALM, CALM, moving))[0]
    assert "nvidia-smi" in doubts(watched({**CALM, "power_mode": None}, CALM, moving))[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"busy_fraction": 0.25, "steal_fraction": 0.05}, {}),  # the limits themselves are allowed
        ({}, {"busy_fraction": 1.0}),  # afterwards it may be the measured engine being put away
        ({}, {"throttle_events": 0.0}),  # counters start over with the board
        ({}, {"swapped_in_pages": 356}),
    ],
)
def test_what_does_not_spoil_a_window(before: State, after: State) -> None:
    assert doubts(watched({**CALM, **before}, {**CALM, **after})) == ()


def test_a_clock_that_dips_once_in_a_long_window_is_steady() -> None:
    assert doubts(watched(CALM, CALM, {**STEADY, "gpu_clock_mhz": [1020.0] * 99 + [306.0]})) == ()


def test_questions_without_an_answer_count_for_nothing() -> None:
    silent: State = dict.fromkeys(CALM)
    states: list[State] = [silent, CALM, {}]
    for before in states:
        for after in states:
            assert doubts(watched(before, after, {})) == ()


def test_several_reasons_are_all_told_and_each_once() -> None:
    found = doubts(watched({**CALM, "busy_fraction": 0.9}, {**CALM, "governor": "powersave"}))
    assert len(found) == 2
    assert len(RULES) == len(set(RULES))
