"""Where a result was made: software, CPU, GPU, board, and a short name for all of it."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from harness.devices.cpu import cpu_name, usable_cores
from harness.devices.jetson import board_model, jetpack
from harness.devices.machine import THIS_MACHINE, Machine
from harness.devices.nvidia import find_gpu

PACKAGES = (
    "edge-robustness-harness",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13",
    "cuda-bindings",
    "pycuda",
    "torch",
)

_TRADE_NOISE = re.compile(r"\(r\)|\(tm\)|\bcpu\b|\bprocessor\b|@.*$|\b\d+-core\b|\bwith radeon.*$", re.IGNORECASE)
_KIT_NOISE = re.compile(r"^nvidia\s+|\s*(engineering reference|developer kit).*$", re.IGNORECASE)


@dataclass(frozen=True)
class Environment:
    """Where it ran; no host name, user name or serial number.

    Attributes:
        python: the interpreter's version.
        platform: kernel, architecture and C library.
        packages: versions of the installed packages that numbers depend on.
        cpu: the CPU's model name.
        cores: how many cores this process may use.
        gpu: the GPU's name, or None.
        driver: the GPU driver's version, or None.
        jetpack: JetPack and L4T versions, or None off a Jetson.
        board: the board's name from the device tree, or None.
        simulated: whether a recorded tree stood in for the machine.
    """

    python: str
    platform: str
    packages: dict[str, str]
    cpu: str
    cores: int
    gpu: str | None
    driver: str | None
    jetpack: str | None
    board: str | None
    simulated: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return asdict(self)


def environment(machine: Machine = THIS_MACHINE) -> Environment:
    """Describe this machine, or the one whose files and answers were recorded; imports no runtime."""
    root, gpu = machine.root, find_gpu(machine.gpu)
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=installed_packages(),
        cpu=cpu_name(root),
        cores=len(usable_cores(root)),
        gpu=gpu.name if gpu else None,
        driver=gpu.driver if gpu else None,
        jetpack=jetpack(root),
        board=board_model(root),
        simulated=machine.is_simulated,
    )


def installed_packages() -> dict[str, str]:
    """Return the versions of those of `PACKAGES` that are installed, from their metadata alone."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def device_id(place: Environment) -> str:
    """Return a short name for the device that is stable and safe as a file name.

    A board goes by its name (`jetson-orin-nano`), any other machine by its GPU, if it has one, and its CPU with the
    cores that may be used (`amd-epyc-2-core`, `nvidia-h200-amd-epyc-16-core`): an engine on the CPU of a GPU machine
    is measured on that CPU. A recorded tree is marked `simulated-`.
    """
    if place.board:
        name = _KIT_NOISE.sub("", place.board)
    else:
        name = f"{place.gpu or ''} {_TRADE_NOISE.sub(' ', place.cpu)} {place.cores}-core"
    slug = "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "unknown-device"
    return f"simulated-{slug}"[:80] if place.simulated else slug[:80]
