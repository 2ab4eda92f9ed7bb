"""What is installed, from packages' files alone: nothing is imported, for an import takes seconds and may crash."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from harness.devices.tree import read_line

GPU_PACKAGES = (
    "tensorrt",
    "tensorrt-rtx-cu13",
    "tensorrt-rtx-cu12",
    "pycuda",
    "cuda-bindings",
    "cuda-python",
    "torch",
)
"""Packages that a GPU is used through, by the names that pip knows."""


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: as pip knows it.
        version: from its metadata.
        cuda: the CUDA version that it was made for, "13.2" or "13"; None where nothing tells or it needs none.
    """

    name: str
    version: str
    cuda: str | None = None


def gpu_packages() -> tuple[Package, ...]:
    """Return those of `GPU_PACKAGES` that are installed."""
    found = []
    for name in GPU_PACKAGES:
        version = _version(name)
        if version is not None:
            found.append(Package(name, version, _cuda(name, version)))
    return tuple(found)


def is_importable(module: str) -> bool:
    """Say whether a module's file is on the import path; a bare folder of its name is no module."""
    found = util.find_spec(module)
    return found is not None and found.origin is not None


def reinstalling(module: str) -> str:
    """Return how a package that is installed and broken is installed again: by apt, where apt put it, else by pip."""
    try:
        found = util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found and found.origin and found.origin.startswith("/usr/lib/python3") and module == "tensorrt":
        return "install it again with: sudo apt-get install --reinstall python3-libnvinfer"
    stem = module.replace("_", "-")
    names = [package.name for package in gpu_packages() if package.name.startswith(f"{stem}-cu")]
    return f"install it again with: pip install --force-reinstall {next(iter(names), stem)}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cuda(name: str, version: str) -> str | None:
    if name in {"cuda-bindings", "cuda-python"}:  # they are numbered as CUDA is
        return ".".join(version.split(".")[:2])
    if name == "torch":
        return torch_cuda()
    if name == "tensorrt":  # its wheels carry the number in the name of the part that does the work
        return next((major for major in ("13", "12", "11") if _version(f"tensorrt-cu{major}")), None)
    made_for = re.search(r"-cu(\d+)$", name)
    return made_for[1] if made_for else None


def torch_cuda() -> str | None:
    """Return the CUDA version that torch was built for, or None without torch or in a build for the CPU alone."""
    found = util.find_spec("torch")
    text = read_line(Path(found.origin).with_name("version.py")) if found and found.origin else None
    cuda = re.search(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)['\"]", text or "", re.MULTILINE)
    return cuda[1] if cuda else None
