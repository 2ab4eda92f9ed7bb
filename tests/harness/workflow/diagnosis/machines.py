"""Readings of machines that are not here, each put together by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.backend import Availability
from engines.cuda.driver import Gpu, NoGpu
from engines.registry import NAMES, backend
from harness.devices.clocks import Clock
from harness.devices.environment import Environment
from harness.devices.installed import Package
from harness.devices.jetson import JetsonState
from harness.devices.nvidia import GpuState
from harness.devices.python_environment import PythonEnvironment
from harness.workflow.diagnosis.asking import Answers, Auto
from harness.workflow.diagnosis.backend_state import BackendState
from harness.workflow.diagnosis.readings import Readings

YES = Availability(True)
NO_DRIVER = NoGpu("libcuda.so.1, the NVIDIA driver, is not here", "install the NVIDIA driver (`sudo …`)")
H200 = Gpu("NVIDIA H200", (9, 0), 132, 150 << 30, "12.8")
ORIN = Gpu("Orin", (8, 7), 8, 8 << 30, "12.6")
NOT_INSTALLED = Availability(False, "tensorrt does not import (No module named 'tensorrt')", "install it with: pip …")


def state(name: str, builds: Availability = YES, runs: Availability | None = None, **changes: Any) -> BackendState:
    """Return what a backend answers; it runs where it builds unless that is said."""
    precisions: dict[str, Availability] = dict.fromkeys(backend(name).precisions, builds)
    found = BackendState(name, "1.0" if builds.usable else None, False, builds, precisions, runs or builds)
    return replace(found, **changes)


def pc(
    gpu: Gpu | NoGpu = NO_DRIVER,
    states: Mapping[str, BackendState] | None = None,
    place: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Readings:
    """Return a PC without a GPU, on which every backend works but TensorRT's two, changed as asked."""
    runs = YES if isinstance(gpu, Gpu) else Availability(False, gpu.reason, gpu.remedy)
    usual = {
        "tensorrt": state("tensorrt", NOT_INSTALLED),
        "tensorrt-rtx": state("tensorrt-rtx", YES, runs),
    }
    known = {**usual, **(states or {})}
    backends = tuple(known.get(name) or state(name) for name in NAMES)
    here = Environment("3.11.7", "Linux", {}, "AMD EPYC", 2, gpu=None, driver=None, jetpack=None, board=None)
    readings = Readings(
        place=replace(here, **(place or {})),
        operating_system="Debian GNU/Linux 12",
        memory_bytes=8 << 30,
        python=PythonEnvironment("3.11.7", Path("/home/me/.venv"), Path("/usr"), sees_base_packages=False),
        has_nvidia_gpu=isinstance(gpu, Gpu),
        kernel_driver=None,
        gpu_state=GpuState(None, None, None),
        board_state=JetsonState(None, None, None, None),
        power_modes={},
        cpu_clock=Clock(2000.0),
        board_gpu_clock=Clock(),
        governor=None,
        temperatures_c={},
        packages=(),
        cuda_access=("cuda-python",),
        has_tensorrt=known["tensorrt"].version is not None,
        hidden_tensorrt=None,
        answers=Answers(backends, Auto("openvino", "backend auto takes openvino"), gpu),
    )
    return replace(readings, **changes)


def orin(gpu: Gpu | NoGpu = ORIN, states: Mapping[str, BackendState] | None = None, **changes: Any) -> Readings:
    """Return a Jetson Orin Nano with JetPack 6 on which TensorRT is not found, changed as asked."""
    place = {"jetpack": "6 (L4T 36.4.0)", "board": "NVIDIA Jetson Orin Nano Developer Kit", "python": "3.10.12"}
    rtx = {"tensorrt-rtx": state("tensorrt-rtx", replace(NOT_INSTALLED, reason="tensorrt_rtx does not import"))}
    return pc(gpu, {**rtx, **(states or {})}, place, has_nvidia_gpu=True, **changes)


def package(name: str, version: str, cuda: str | None) -> Package:
    """Return an installed package."""
    return Package(name, version, cuda)
