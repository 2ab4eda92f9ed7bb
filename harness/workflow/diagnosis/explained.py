"""What a backend cannot know of the machine around it: why its package is not seen, and what mends that here."""

from __future__ import annotations

from dataclasses import replace

from engines.backend import Availability
from engines.cuda.driver import Gpu, NoGpu
from harness.workflow.diagnosis.backend_state import BackendState
from harness.workflow.diagnosis.readings import Readings

TENSORRT = "tensorrt"


def is_jetson(readings: Readings) -> bool:
    """Say whether this is a Jetson, also in a container that sees its name alone."""
    return readings.place.jetpack is not None or "jetson" in (readings.place.board or "").lower()


def explained(state: BackendState, readings: Readings) -> BackendState:
    """Return a backend's state with the reasons and remedies of this machine in the place of its general ones."""
    package = _package(state, readings)
    if package is not None:
        return replace(state, builds=package, precisions=dict.fromkeys(state.precisions, package), runs=package)
    return replace(
        state,
        builds=_of_this_gpu(state.builds, readings),
        precisions={name: _of_this_gpu(each, readings) for name, each in state.precisions.items()},
        runs=_of_this_gpu(_access(state, readings), readings),
    )


def is_told_by_the_tree(state: BackendState, readings: Readings) -> bool:
    """Say whether what a backend lacks was read from files, and so holds for a recorded tree's machine too."""
    return _package(state, readings) is not None


def no_gpu(readings: Readings) -> NoGpu | None:
    """Return why no GPU can be used, with the remedy of this machine; None where one can."""
    gpu = readings.gpu
    if isinstance(gpu, Gpu):
        return None
    if readings.place.simulated:
        return gpu
    if is_jetson(readings):
        return NoGpu(
            gpu.reason,
            "start the container with `--runtime nvidia`; outside of one, install JetPack's driver with: "
            "sudo apt-get install nvidia-jetpack",
        )
    if readings.kernel_driver is not None and "is not here" in gpu.reason:
        return NoGpu(
            f"{gpu.reason}, though the kernel has the driver {readings.kernel_driver} loaded",
            "start the container with `--gpus all` (Docker with NVIDIA's container toolkit)",
        )
    return gpu


def _package(state: BackendState, readings: Readings) -> Availability | None:
    """Return why TensorRT's package is not found; None where it is, or is another backend's."""
    if state.name != TENSORRT or state.builds.usable or readings.has_tensorrt:
        return None
    hidden = readings.hidden_tensorrt
    if hidden is not None:
        whose = "JetPack's" if is_jetson(readings) else "the system's"
        return Availability(False, f"{whose} TensorRT is hidden from this Python: {hidden.reason}", hidden.remedy)
    if is_jetson(readings):
        return Availability(
            False,
            "TensorRT's Python package is not installed",
            "install it with: sudo apt-get install python3-libnvinfer, and run the doctor again",
        )
    return None


def _access(state: BackendState, readings: Readings) -> Availability:
    """Return whether it runs, with the bindings that fit the driver where none are installed."""
    gpu = readings.gpu
    if state.runs.usable or not state.builds.usable or readings.cuda_access or not isinstance(gpu, Gpu):
        return state.runs
    major = gpu.cuda_version.partition(".")[0]
    return Availability(False, state.runs.reason, f"install one with: pip install 'cuda-bindings=={major}.*'")


def _of_this_gpu(found: Availability, readings: Readings) -> Availability:
    """Return the same, with this machine's remedy where the GPU or its driver is what is missing."""
    absent = no_gpu(readings)
    if found.usable or absent is None or isinstance(readings.gpu, Gpu) or found.reason != readings.gpu.reason:
        return found
    return Availability(False, absent.reason, absent.remedy)
