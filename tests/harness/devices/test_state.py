from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.devices.state import DeviceState, State, judge, read_state

pytestmark = pytest.mark.core

CALM: State = {
    "governor": "performance",
    "busy_fraction": 0.02,
    "steal_fraction": 0.0,
    "cpu_total_s": 1000.0,
    "cpu_steal_s": 5.0,
    "gpu_throttle": "none",
    "power_mode": "15W",
    "throttle_events": 3.0,
}


def test_a_calm_device_is_valid() -> None:
    assert judge(CALM, {**CALM, "cpu_total_s": 1120.0, "cpu_steal_s": 6.0}) == (True, ())


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({}, {"governor": "powersave"}, "governor changed from performance to powersave"),
        ({}, {"power_mode": "7W"}, "power mode changed from 15W to 7W"),
        ({"busy_fraction": 0.26}, {}, "other programs used 26% of the CPU before the window"),
        ({"steal_fraction": 0.06}, {}, "hypervisor took 6%"),
        ({}, {"steal_fraction": 0.5}, "hypervisor took 50%"),
        ({}, {"cpu_total_s": 1100.0, "cpu_steal_s": 15.0}, "hypervisor took 10%"),
        ({"gpu_throttle": "software power cap"}, {}, "clocks were held down (software power cap)"),
        ({}, {"gpu_throttle": "hardware slowdown"}, "clocks were held down (hardware slowdown)"),
        ({}, {"throttle_events": 5.0}, "the board throttled 2 times"),
    ],
)
def test_what_spoils_a_window_is_said_with_what_mends_it(before: State, after: State, reason: str) -> None:
    valid, reasons = judge({**CALM, **before}, {**CALM, **after})
    assert not valid
    assert len(reasons) == 1 and reason in reasons[0]
    assert "measur" in reasons[0]  # every sentence ends with the way out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"busy_fraction": 0.25, "steal_fraction": 0.05}, {}),  # the limits themselves are allowed
        ({}, {"busy_fraction": 1.0}),  # afterwards it may be the measured engine being put away
        ({}, {"throttle_events": 0.0}),  # counters start over with the board
    ],
)
def test_what_does_not_spoil_a_window(before: State, after: State) -> None:
    assert judge({**CALM, **before}, {**CALM, **after}) == (True, ())


def test_questions_without_an_answer_count_for_nothing() -> None:
    silent: State = dict.fromkeys(CALM)
    assert judge(silent, CALM) == judge(CALM, silent) == judge(silent, silent) == judge({}, {}) == (True, ())


def test_several_reasons_are_all_told() -> None:
    valid, reasons = judge({**CALM, "busy_fraction": 0.9}, {**CALM, "governor": "powersave"})
    assert not valid and len(reasons) == 2


def test_this_machines_state_is_plain_json() -> None:
    state = read_state()
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    device = DeviceState(state, state, *judge(state, state))
    assert device.to_json()["valid"] == (not device.reasons)


def test_an_empty_tree_has_every_key_and_no_value(tmp_path: Path) -> None:
    state = read_state(tmp_path)
    assert set(state.values()) == {None}
    assert set(state) == set(read_state())
