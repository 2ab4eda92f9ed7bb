"""An NVIDIA GPU by NVML: every question that is asked of it, of the real driver or of recorded answers.

NVML on a Jetson names the GPU and answers little else; see `jetson.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from contracts.files import read_json

RECORDED = "nvml.json"
"""What the driver answered, in a recorded tree: a JSON object by the names of `QUESTIONS`."""

THROTTLE_REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clock-event bits that mean the GPU is held back. An idle GPU (0x1) is not."""

QUESTIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "name": lambda nvml, gpu: _text(nvml.nvmlDeviceGetName(gpu)),
    "driver": lambda nvml, _: _text(nvml.nvmlSystemGetDriverVersion()),
    "temperature_c": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    "clock_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
    "throttle_bits": lambda nvml, gpu: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu),
    "power_violation_ns": lambda nvml, gpu: (
        nvml.nvmlDeviceGetViolationStatus(gpu, nvml.NVML_PERF_POLICY_POWER).violationTime
    ),
    "thermal_violation_ns": lambda nvml, gpu: (
        nvml.nvmlDeviceGetViolationStatus(gpu, nvml.NVML_PERF_POLICY_THERMAL).violationTime
    ),
    "used_bytes": lambda nvml, gpu: int(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
    "processes": lambda nvml, gpu: [
        [process.pid, process.usedGpuMemory] for process in nvml.nvmlDeviceGetComputeRunningProcesses(gpu)
    ],
    "energy_mj": lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu),
    "power_mw": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu),
}
"""What is asked, of (pynvml, device handle). An answer is a JSON value. A new question is a line here."""

Ask = Callable[[str], Any]
"""From the name of a question to its answer; None where there is no GPU, or it does not support the question."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that the engines use."""

    name: str
    driver: str


@dataclass(frozen=True)
class GpuState:
    """The GPU at one moment; None where NVML does not support a question on this device.

    Attributes:
        temperature_c: degrees Celsius.
        clock_mhz: clock of the multiprocessors.
        throttle: what holds the clocks down, comma-separated, or "none".
    """

    temperature_c: float | None
    clock_mhz: float | None
    throttle: str | None


def read_gpu(ask: Ask) -> GpuState:
    """Return the GPU's state; without a GPU every field is None."""
    bits = ask("throttle_bits")
    return GpuState(ask("temperature_c"), ask("clock_mhz"), None if bits is None else throttle_names(bits))


def find_gpu(ask: Ask) -> Gpu | None:
    """Return the GPU and its driver, or None without one."""
    name, driver = ask("name"), ask("driver")
    return None if name is None and driver is None else Gpu(name or "NVIDIA GPU", driver or "unknown")


def throttle_names(bits: int) -> str:
    """Name the reasons in NVML's bit mask that hold the clocks down, or "none"."""
    return ", ".join(name for bit, name in THROTTLE_REASONS.items() if bits & bit) or "none"


def ask_driver(question: str) -> Any:
    """Ask the driver about the GPU that CUDA calls device 0."""
    import pynvml

    try:
        handle = _opened()
        return None if handle is None else QUESTIONS[question](pynvml, handle)
    except pynvml.NVMLError:
        return None


def ask_record(root: Path) -> Ask:
    """Return what answers from a recorded tree; without a record there is no GPU.

    Raises:
        InputError: the record is damaged.
    """
    path = root / RECORDED
    answers = read_json(path, "record of NVML's answers") if path.exists() else {}
    if not isinstance(answers, dict):
        raise InputError(f"{path} is no record of NVML's answers: record the machine again")
    return answers.get


@cache
def _opened() -> Any:
    """Open NVML for as long as this process lives, and return the handle of the first visible GPU, or None.

    NVML itself does not heed CUDA_VISIBLE_DEVICES.
    """
    import pynvml

    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    try:
        pynvml.nvmlInit()
        if first.isdecimal():
            return pynvml.nvmlDeviceGetHandleByIndex(int(first))
        return pynvml.nvmlDeviceGetHandleByUUID(first) if first.startswith(("GPU-", "MIG-")) else None
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    """Return text: bindings before version 11.5 answer in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
