"""An NVIDIA GPU by NVML: what it is, how hot it is, what holds its clocks down, how much memory is in use.

Without a driver every answer is None. NVML on a Jetson names the GPU and answers little else; see `jetson.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

THROTTLE_REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clock-event bits that mean the GPU is held back. An idle GPU (0x1) is not."""


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


def find_gpu() -> Gpu | None:
    """Return the first visible GPU and its driver, or None without one."""
    with _device() as device:
        if device is None:
            return None
        nvml, handle = device
        name, driver = _ask(lambda: nvml.nvmlDeviceGetName(handle)), _ask(nvml.nvmlSystemGetDriverVersion)
        return Gpu(_text(name) or "NVIDIA GPU", _text(driver) or "unknown")


def read_gpu() -> GpuState:
    """Return the first visible GPU's state; without a GPU every field is None."""
    with _device() as device:
        if device is None:
            return GpuState(None, None, None)
        nvml, handle = device
        bits = _ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        return GpuState(
            temperature_c=_ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            clock_mhz=_ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            throttle=None if bits is None else throttle_names(bits),
        )


def used_memory_bytes() -> int | None:
    """Return the first visible GPU's memory in use by everyone, or None without a GPU or an answer."""
    with _device() as device:
        if device is None:
            return None
        nvml, handle = device
        return _ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used))


def throttle_names(bits: int) -> str:
    """Name the reasons in NVML's bit mask that hold the clocks down, or "none"."""
    return ", ".join(name for bit, name in THROTTLE_REASONS.items() if bits & bit) or "none"


@contextmanager
def _device() -> Iterator[tuple[Any, Any] | None]:
    """Yield (pynvml, handle) of the first visible GPU, or None."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        handle = _ask(_first_visible)
        yield None if handle is None else (pynvml, handle)
    finally:
        pynvml.nvmlShutdown()


def _first_visible() -> object | None:
    """Return the handle that CUDA calls device 0: NVML itself does not heed CUDA_VISIBLE_DEVICES."""
    import pynvml

    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.isdecimal():
        found: object = pynvml.nvmlDeviceGetHandleByIndex(int(first))
        return found
    return pynvml.nvmlDeviceGetHandleByUUID(first) if first.startswith(("GPU-", "MIG-")) else None


def _ask(question: Callable[[], T]) -> T | None:
    """Answer one NVML question, or None where the device does not support it."""
    import pynvml

    try:
        return question()
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes | None) -> str | None:
    """Return text: bindings before version 11.5 answer in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
