"""All that is read of this machine, or of a recorded tree in its place, before anything is judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.cuda.driver import Gpu, NoGpu
from engines.cuda.implementations import implementations
from harness.devices.clocks import Clock, cpu_clock, jetson_gpu_clock
from harness.devices.cpu import governor
from harness.devices.environment import Environment, environment
from harness.devices.installed import Package, gpu_packages, is_importable
from harness.devices.jetson import JetsonState, power_modes, read_jetson
from harness.devices.machine import Machine
from harness.devices.nvidia import GpuState, read_gpu
from harness.devices.operating_system import has_nvidia_gpu, kernel_driver_version, memory_bytes, operating_system
from harness.devices.python_environment import HiddenPackage, PythonEnvironment, hidden_package, python_environment
from harness.devices.temperatures import temperatures_c
from harness.devices.tree import SYSTEM_ROOT
from harness.workflow.diagnosis.asking import Answers, ask_all

RECORDED = "a recorded tree has no driver that could be asked"


@dataclass(frozen=True)
class Readings:
    """What was read.

    Attributes:
        place: software, CPU, board; `place.simulated` where a recorded tree stood in for the machine.
        operating_system: its name and version.
        memory_bytes: of the machine.
        python: which Python runs this, always the real one.
        has_nvidia_gpu: whether there is one, with a driver or without.
        kernel_driver: version of the NVIDIA driver that the kernel has loaded.
        gpu_state: by NVML.
        board_state: by a Jetson's sysfs.
        power_modes: a Jetson's, names by number.
        cpu_clock: now and its limits.
        board_gpu_clock: a Jetson's GPU's.
        governor: the CPU frequency governors.
        temperatures_c: by the thermal zone's name.
        packages: that a GPU is used through, those that are installed.
        cuda_access: installed ways to a GPU's memory, the preferred one first.
        has_tensorrt: whether Python finds TensorRT, working or not.
        hidden_tensorrt: the system's TensorRT that this Python does not see.
        answers: of the backends, the driver and `auto`.
    """

    place: Environment
    operating_system: str | None
    memory_bytes: int | None
    python: PythonEnvironment
    has_nvidia_gpu: bool
    kernel_driver: str | None
    gpu_state: GpuState
    board_state: JetsonState
    power_modes: dict[int, str]
    cpu_clock: Clock
    board_gpu_clock: Clock
    governor: str | None
    temperatures_c: dict[str, float]
    packages: tuple[Package, ...]
    cuda_access: tuple[str, ...]
    has_tensorrt: bool
    hidden_tensorrt: HiddenPackage | None
    answers: Answers

    @property
    def gpu(self) -> Gpu | NoGpu:
        """What the driver says of the first GPU."""
        return self.answers.gpu


def read(root: Path = SYSTEM_ROOT, python: PythonEnvironment | None = None) -> Readings:
    """Read everything; takes about a second, and imports neither torch nor, in this process, TensorRT.

    Args:
        root: of a recorded tree in this machine's place. Python, its packages and the backends are this machine's all
            the same; the driver is not asked.
        python: the interpreter; the one that runs unless a test says another.
    """
    answers = ask_all()
    machine = Machine(root)
    place = environment(machine)
    if place.simulated:
        answers = Answers(answers.backends, answers.auto, NoGpu(RECORDED, "run the doctor on the machine itself"))
    python = python or python_environment()
    has_tensorrt = is_importable("tensorrt")
    return Readings(
        place=place,
        operating_system=operating_system(root),
        memory_bytes=memory_bytes(root),
        python=python,
        has_nvidia_gpu=has_nvidia_gpu(root),
        kernel_driver=kernel_driver_version(root),
        gpu_state=read_gpu(machine.gpu),
        board_state=read_jetson(root),
        power_modes=power_modes(root),
        cpu_clock=cpu_clock(root),
        board_gpu_clock=jetson_gpu_clock(root),
        governor=governor(root),
        temperatures_c=temperatures_c(root),
        packages=gpu_packages(),
        cuda_access=implementations(),
        has_tensorrt=has_tensorrt,
        hidden_tensorrt=None if has_tensorrt else hidden_package("tensorrt", python, root),
        answers=answers,
    )
