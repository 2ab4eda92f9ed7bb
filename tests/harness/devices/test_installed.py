from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness.devices.installed import GPU_PACKAGES, gpu_packages, is_importable, reinstalling, torch_cuda

pytestmark = pytest.mark.core


def install(folder: Path, name: str, version: str, files: dict[str, str] | None = None) -> None:
    """Put a package's metadata and files into a folder, as pip does."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for path, text in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder that packages are looked for in."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in GPU_PACKAGES:  # what an earlier test imported answers in the place of the path
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_every_package_tells_the_cuda_it_is_made_for(alone: Path) -> None:
    install(alone, "cuda-bindings", "12.9.4")
    install(alone, "tensorrt", "10.3.0")
    install(alone, "tensorrt-cu12", "10.3.0")
    install(alone, "tensorrt-rtx-cu13", "1.7.1.116")
    install(alone, "pycuda", "2025.1")
    version = "from typing import Optional\n__version__ = '2.8.0+cu126'\ncuda: Optional[str] = '12.6'\nhip = None\n"
    install(alone, "torch", "2.8.0", {"torch/__init__.py": "raise RuntimeError", "torch/version.py": version})
    assert {package.name: (package.version, package.cuda) for package in gpu_packages()} == {
        "tensorrt": ("10.3.0", "12"),
        "tensorrt-rtx-cu13": ("1.7.1.116", "13"),
        "pycuda": ("2025.1", None),
        "cuda-bindings": ("12.9.4", "12.9"),
        "torch": ("2.8.0", "12.6"),
    }


@pytest.mark.parametrize("line", ["cuda: Optional[str] = None", "cuda = None", ""])
def test_a_torch_for_the_cpu_alone_has_no_cuda(alone: Path, line: str) -> None:
    install(alone, "torch", "2.8.0", {"torch/__init__.py": "", "torch/version.py": f"{line}\ncudart = '12.6'\n"})
    assert torch_cuda() is None


def test_a_bare_folder_is_no_package(alone: Path) -> None:
    (alone / "tensorrt").mkdir()
    assert not is_importable("tensorrt")
    (alone / "tensorrt" / "__init__.py").touch()
    assert is_importable("tensorrt")
    assert not is_importable("nothing_of_this_name")


def test_what_pip_installed_is_installed_again_by_its_own_name(alone: Path) -> None:
    install(alone, "tensorrt-rtx-cu12", "1.7.1")
    assert reinstalling("tensorrt_rtx") == "install it again with: pip install --force-reinstall tensorrt-rtx-cu12"
    assert reinstalling("tensorrt") == "install it again with: pip install --force-reinstall tensorrt"


def test_nothing_is_imported_for_it() -> None:
    program = (
        "import sys; from harness.devices.installed import gpu_packages; print(*[one.name for one in gpu_packages()]);"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    names, modules = shown.stdout.split("\n")[:2]
    assert names.split() == [name for name in GPU_PACKAGES if _is_here(name)]
    assert {"torch", "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "numpy"}.isdisjoint(modules.split())


def _is_here(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False
