"""The operating system's name, the machine's memory, and the NVIDIA hardware that the kernel sees."""

from __future__ import annotations

import re
from pathlib import Path

from harness.devices.tree import SYSTEM_ROOT, read_fields, read_line

_NVIDIA, _DISPLAY_CLASSES = "0x10de", ("0x0300", "0x0302")


def operating_system(root: Path = SYSTEM_ROOT) -> str | None:
    """Return the distribution's name and version, such as "Ubuntu 22.04.5 LTS", or None."""
    fields = dict(read_fields(root / "etc/os-release", separator="="))
    return fields.get("PRETTY_NAME", "").strip("\"'") or None


def memory_bytes(root: Path = SYSTEM_ROOT) -> int | None:
    """Return the memory that the kernel has, or None; a Jetson's GPU shares it."""
    words = dict(read_fields(root / "proc/meminfo")).get("MemTotal", "").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() else None


def has_nvidia_gpu(root: Path = SYSTEM_ROOT) -> bool:
    """Say whether an NVIDIA GPU is in the machine, with a driver or without: on PCI, in a Jetson, or under WSL."""
    devices = root.glob("sys/bus/pci/devices/*")
    on_pci = any(
        read_line(device / "vendor") == _NVIDIA and (read_line(device / "class") or "").startswith(_DISPLAY_CLASSES)
        for device in devices
    )
    # WSL shows every vendor's GPU as /dev/dxg; NVIDIA's libraries lie beside it.
    under_wsl = (root / "dev/dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists()
    return on_pci or under_wsl or (root / "etc/nv_tegra_release").exists()


def kernel_driver_version(root: Path = SYSTEM_ROOT) -> str | None:
    """Return the version of the NVIDIA driver that the kernel has loaded, also where its libraries are out of reach."""
    found = re.search(
        r"^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", read_line(root / "proc/driver/nvidia/version") or ""
    )
    return found[1] if found else None
