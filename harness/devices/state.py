"""The device's state at one moment, as a flat table of numbers and names; a question without an answer is None."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.devices.cpu import (
    cpu_times_s,
    frequencies_mhz,
    frequency_mhz,
    governor,
    load_average_1m,
    quota_throttled,
    sample_load,
    swap_used_bytes,
    swapped_in_pages,
)
from harness.devices.jetson import read_jetson
from harness.devices.machine import THIS_MACHINE, Machine
from harness.devices.nvidia import read_gpu
from harness.devices.temperatures import temperatures_c

Value = float | str | None
State = Mapping[str, Value]


def read_state(machine: Machine = THIS_MACHINE) -> dict[str, Value]:
    """Return the device's state.

    Takes about a third of a second, in which the cores are watched and this process sleeps.
    """
    root = machine.root
    load = sample_load(root)
    times = cpu_times_s(root)
    board = read_jetson(root)
    gpu = read_gpu(machine.gpu)
    return {
        "load_average_1m": load_average_1m(root),
        "cpu_frequency_mhz": frequency_mhz(root),
        "governor": governor(root),
        "busy_fraction": load.busy_fraction if load else None,
        "steal_fraction": load.steal_fraction if load else None,
        "cpu_total_s": times[0] if times else None,
        "cpu_steal_s": times[2] if times else None,
        "quota_throttled": quota_throttled(root),
        "swap_used_bytes": swap_used_bytes(root),
        "swapped_in_pages": swapped_in_pages(root),
        "gpu_temperature_c": board.gpu_temperature_c if gpu.temperature_c is None else gpu.temperature_c,
        "gpu_clock_mhz": board.gpu_clock_mhz if gpu.clock_mhz is None else gpu.clock_mhz,
        "gpu_throttle": gpu.throttle,
        "gpu_power_violation_s": _seconds(machine.gpu("power_violation_ns")),
        "gpu_thermal_violation_s": _seconds(machine.gpu("thermal_violation_ns")),
        "power_mode": board.power_mode,
        "throttle_events": board.throttle_events,
        **{f"{name}_c": value for name, value in _zones(machine).items()},
    }


def read_moment(machine: Machine = THIS_MACHINE, cores: Iterable[int] = ()) -> dict[str, float]:
    """Return what moves while an engine runs; takes about a millisecond of one core.

    Args:
        machine: that is read.
        cores: the measured ones, of which the fastest tells the clock: the others may idle. Empty takes all usable.
    """
    board = read_jetson(machine.root)
    temperature_c, clock_mhz = machine.gpu("temperature_c"), machine.gpu("clock_mhz")
    found = {
        "cpu_frequency_mhz": max(frequencies_mhz(machine.root, tuple(cores)), default=None),
        "gpu_clock_mhz": board.gpu_clock_mhz if clock_mhz is None else clock_mhz,
        "gpu_temperature_c": board.gpu_temperature_c if temperature_c is None else temperature_c,
        "gpu_throttle_bits": machine.gpu("throttle_bits"),
        "gpu_used_bytes": machine.gpu("used_bytes"),
    }
    zones = {f"{name}_c": value for name, value in _zones(machine).items()}
    return {name: float(value) for name, value in {**found, **zones}.items() if value is not None}


def _zones(machine: Machine) -> dict[str, float]:
    found = temperatures_c(machine.root)
    return {
        "temperature_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): value for name, value in found.items()
    }


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
