"""What the NVIDIA driver says is here, asked of the driver itself: no CUDA package is needed."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

LIBRARY = "libcuda.so.1"
"""The driver's library; the loader finds it on a desktop, on a Jetson and under WSL."""

_MULTIPROCESSORS, _COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 16, 75, 76
_LOOK = "run `nvidia-smi`, which names what is wrong between GPU and driver"
_REMEDIES = {
    "CUDA_ERROR_NO_DEVICE": "run `nvidia-smi -L`, which lists the GPUs; in a container, start it with `--gpus all`",
    "CUDA_ERROR_STUB_LIBRARY": f"take the CUDA toolkit's folder `stubs` out of LD_LIBRARY_PATH: its {LIBRARY} is empty",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "restart the machine: its driver was updated and the old one still runs",
    "CUDA_ERROR_SYSTEM_NOT_READY": "start the fabric manager: `sudo systemctl start nvidia-fabricmanager`",
}


@dataclass(frozen=True)
class Gpu:
    """The first GPU, as CUDA counts them.

    Attributes:
        name: as the driver gives it.
        compute_capability: major and minor number, (8, 7) for a Jetson Orin.
        multiprocessors: how many it has; all Jetson Orins have one name and differ in this.
        memory_bytes: all of its memory, in use or not.
        cuda_version: the newest CUDA version that the driver knows, "12.6".
    """

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int
    cuda_version: str

    @property
    def capability(self) -> str:
        """The compute capability as it is written, "8.7"."""
        major, minor = self.compute_capability
        return f"{major}.{minor}"

    @property
    def model(self) -> str:
        """What tells it from others for which a kernel was not chosen, "Orin with 8 multiprocessors"."""
        return f"{self.name} with {self.multiprocessors} multiprocessors"


@dataclass(frozen=True)
class NoGpu:
    """Why no GPU can be used, and what mends that."""

    reason: str
    remedy: str


def find_gpu() -> Gpu | NoGpu:
    """Return the first GPU, or why there is none; no context is made and nothing is raised.

    `CUDA_VISIBLE_DEVICES` counts, as for any CUDA program. The driver is initialised in this process: a process
    that is forked from it afterwards cannot use CUDA, one that is spawned can.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        remedy = "install the NVIDIA driver (`sudo ubuntu-drivers install`); in a container, start it with `--gpus all`"
        return NoGpu(f"{LIBRARY}, the NVIDIA driver, is not here", remedy)
    try:
        return _ask(library)
    except AttributeError as error:
        return NoGpu(f"{LIBRARY} is not a whole NVIDIA driver: {error}", "install the NVIDIA driver again")


def error_name(library: ctypes.CDLL, code: int) -> str:
    """Return the driver's name of an error, such as `CUDA_ERROR_NO_DEVICE`."""
    name = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(name))
    return name.value.decode() if name.value else f"CUDA error {code}"


def _ask(library: ctypes.CDLL) -> Gpu | NoGpu:
    version, count, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    major, minor, processors = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    answers = (
        ("cuInit", (0,)),
        ("cuDriverGetVersion", (ctypes.byref(version),)),
        ("cuDeviceGetCount", (ctypes.byref(count),)),
        ("cuDeviceGet", (ctypes.byref(device), 0)),
        ("cuDeviceGetName", (name, len(name), device)),
        ("cuDeviceGetAttribute", (ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(processors), _MULTIPROCESSORS, device)),
        ("cuDeviceTotalMem_v2", (ctypes.byref(memory), device)),
    )
    for call, arguments in answers:
        code = getattr(library, call)(*arguments)
        if code:
            return _refusal(call, error_name(library, code))
        if call == "cuDeviceGetCount" and not count.value:
            return _refusal(call, "CUDA_ERROR_NO_DEVICE")
    cuda_version = f"{version.value // 1000}.{version.value % 1000 // 10}"
    capability = (major.value, minor.value)
    return Gpu(name.value.decode(errors="replace"), capability, processors.value, memory.value, cuda_version)


def _refusal(call: str, name: str) -> NoGpu:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if name == "CUDA_ERROR_NO_DEVICE" and visible is not None:
        return NoGpu(f"CUDA_VISIBLE_DEVICES is {visible!r} and leaves no GPU", "unset CUDA_VISIBLE_DEVICES")
    return NoGpu(f"the NVIDIA driver finds no usable GPU: {call} answered {name}", _REMEDIES.get(name, _LOOK))
