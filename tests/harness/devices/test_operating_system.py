from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.operating_system import has_nvidia_gpu, kernel_driver_version, memory_bytes, operating_system
from tests.harness.devices.recorded_orin import record

pytestmark = pytest.mark.core

NVRM = "NVRM version: NVIDIA UNIX {kind}  {version}  {rest}\nGCC version:  gcc version 12.3.0\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_board_is_described(tmp_path: Path) -> None:
    root = record(tmp_path)
    assert operating_system(root) == "Ubuntu 22.04.5 LTS"
    assert memory_bytes(root) == 7_802_856 * 1024
    assert has_nvidia_gpu(root), "every Jetson has one, which is not on PCI"
    assert kernel_driver_version(root) is None


@pytest.mark.parametrize(
    ("vendor", "kind", "found"),
    [
        ("0x10de", "0x030200", True),
        ("0x10de", "0x030000", True),
        ("0x10de", "0x040300", False),  # the sound of a graphics card's HDMI socket
        ("0x1002", "0x030000", False),
    ],
)
def test_a_gpu_on_pci_is_seen_without_a_driver(tmp_path: Path, vendor: str, kind: str, found: bool) -> None:
    _write(tmp_path / "sys/bus/pci/devices/0000:01:00.0/vendor", f"{vendor}\n")
    _write(tmp_path / "sys/bus/pci/devices/0000:01:00.0/class", f"{kind}\n")
    assert has_nvidia_gpu(tmp_path) is found


def test_under_wsl_nvidias_library_tells_whose_gpu_it_is(tmp_path: Path) -> None:
    _write(tmp_path / "dev/dxg", "")
    assert not has_nvidia_gpu(tmp_path)
    _write(tmp_path / "usr/lib/wsl/lib/libcuda.so.1", "")
    assert has_nvidia_gpu(tmp_path)


@pytest.mark.parametrize(
    ("kind", "version", "rest"),
    [
        ("x86_64 Kernel Module", "535.183.01", "Sun May 12 19:39:15 UTC 2024"),
        ("Open Kernel Module for aarch64", "540.4.0", "Release Build  (buildbrain@mobile)"),
        ("Open Kernel Module for x86_64", "580.65.06", "Release Build"),
    ],
)
def test_the_kernel_tells_its_driver(tmp_path: Path, kind: str, version: str, rest: str) -> None:
    _write(tmp_path / "proc/driver/nvidia/version", NVRM.format(kind=kind, version=version, rest=rest))
    assert kernel_driver_version(tmp_path) == version


def test_an_empty_tree_tells_nothing(tmp_path: Path) -> None:
    assert operating_system(tmp_path) is None
    assert memory_bytes(tmp_path) is None
    assert kernel_driver_version(tmp_path) is None
    assert not has_nvidia_gpu(tmp_path)
