"""The device's state around a measurement, and whether the measurement can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.devices.cpu import cpu_times_s, frequency_mhz, governor, load_average_1m, sample_load, swap_used_bytes
from harness.devices.jetson import read_jetson
from harness.devices.nvidia import GpuState, read_gpu
from harness.devices.tree import SYSTEM_ROOT, is_recorded

State = Mapping[str, float | str | None]

BUSY_LIMIT = 0.25
"""The share of the cores that others may use before a window."""
STEAL_LIMIT = 0.05
"""The share of time that a hypervisor may take away."""


@dataclass(frozen=True)
class DeviceState:
    """The device before and after a measurement, and the reasons why it is not valid, if any."""

    before: dict[str, float | str | None]
    after: dict[str, float | str | None]
    valid: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return {"before": self.before, "after": self.after, "valid": self.valid, "reasons": list(self.reasons)}


def read_state(root: Path = SYSTEM_ROOT) -> dict[str, float | str | None]:
    """Return the device's state; a key whose reader has no answer here is None.

    Takes about a third of a second, in which the cores are watched and this process sleeps.
    """
    load = sample_load(root)
    times = cpu_times_s(root)
    board = read_jetson(root)
    gpu = GpuState(None, None, None) if is_recorded(root) else read_gpu()
    return {
        "load_average_1m": load_average_1m(root),
        "cpu_frequency_mhz": frequency_mhz(root),
        "governor": governor(root),
        "busy_fraction": load.busy_fraction if load else None,
        "steal_fraction": load.steal_fraction if load else None,
        "cpu_total_s": times[0] if times else None,
        "cpu_steal_s": times[2] if times else None,
        "swap_used_bytes": swap_used_bytes(root),
        "gpu_temperature_c": board.gpu_temperature_c if gpu.temperature_c is None else gpu.temperature_c,
        "gpu_clock_mhz": board.gpu_clock_mhz if gpu.clock_mhz is None else gpu.clock_mhz,
        "gpu_throttle": gpu.throttle,
        "power_mode": board.power_mode,
        "throttle_events": board.throttle_events,
    }


def judge(before: State, after: State) -> tuple[bool, tuple[str, ...]]:
    """Say whether a window between two states is valid, and if not why and what would mend it.

    A question that a device does not answer (None) counts for nothing. How busy the cores are is judged before the
    window only: afterwards it may be the measured engine itself that is being put away.
    """
    found = [*_changes(before, after), *_shares(before, after), *_throttling(before, after)]
    return not found, tuple(found)


def _changes(before: State, after: State) -> list[str]:
    named = {
        "governor": (
            "CPU frequency governor",
            "set one for good, for example with 'cpupower frequency-set -g performance'",
        ),
        "power_mode": ("power mode", "set one for good with 'nvpmodel -m'"),
    }
    return [
        f"the {name} changed from {before[key]} to {after[key]} during the window: {remedy}, and measure again"
        for key, (name, remedy) in named.items()
        if before.get(key) is not None and after.get(key) is not None and before[key] != after[key]
    ]


def _shares(before: State, after: State) -> list[str]:
    reasons = []
    busy = before.get("busy_fraction")
    if isinstance(busy, float | int) and busy > BUSY_LIMIT:
        reasons.append(
            f"other programs used {busy:.0%} of the CPU before the window (limit {BUSY_LIMIT:.0%}): "
            "stop them and measure again"
        )
    steal = max((share for share in _steal_fractions(before, after)), default=0.0)
    if steal > STEAL_LIMIT:
        reasons.append(
            f"the hypervisor took {steal:.0%} of the CPU time away (limit {STEAL_LIMIT:.0%}): "
            "measure on a dedicated or idle host"
        )
    return reasons


def _steal_fractions(before: State, after: State) -> list[float]:
    """Return the stolen shares: at either end, and over the whole window from the kernel's counters."""
    shares = [value for state in (before, after) if isinstance(value := state.get("steal_fraction"), float | int)]
    ends = [state.get(key) for key in ("cpu_total_s", "cpu_steal_s") for state in (before, after)]
    numbers = [value for value in ends if isinstance(value, float | int)]
    if len(numbers) == 4 and numbers[1] > numbers[0]:
        shares.append((numbers[3] - numbers[2]) / (numbers[1] - numbers[0]))
    return shares


def _throttling(before: State, after: State) -> list[str]:
    reasons = []
    names = [name for state in (before, after) if (name := state.get("gpu_throttle")) not in {None, "none"}]
    if names:
        reasons.append(
            f"the GPU's clocks were held down ({names[-1]}): cool it or raise its power limit, and measure again"
        )
    first, last = before.get("throttle_events"), after.get("throttle_events")
    if isinstance(first, float | int) and isinstance(last, float | int) and last > first:
        reasons.append(
            f"the board throttled {last - first:.0f} times during the window: cool it, give it a stronger "
            "supply or a lower power mode, and measure again"
        )
    return reasons
