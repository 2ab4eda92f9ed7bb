from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.devices.python_environment import PythonEnvironment, hidden_package, python_environment

pytestmark = pytest.mark.core

JETPACK = "usr/lib/python3.10/dist-packages/tensorrt"


def system(root: Path, place: str = JETPACK, python: str = "python3.10") -> Path:
    """Return a root folder of a system that has a package."""
    (root / place).mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/python3").symlink_to(python)
    return root


def environment(folder: Path, *, sees: bool, version: str = "3.10.12", base: str = "/usr") -> PythonEnvironment:
    """Return a virtual environment as `python -m venv` makes it."""
    folder.mkdir(exist_ok=True)
    (folder / "pyvenv.cfg").write_text(
        f"home = {base}/bin\ninclude-system-site-packages = {str(sees).lower()}\nversion = {version}\n"
    )
    return python_environment(folder, Path(base), version)


def test_a_plain_environment_hides_jetpacks_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = system(tmp_path / "root")
    found = hidden_package("tensorrt", environment(tmp_path / ".venv", sees=False), root)
    assert found is not None
    assert found.folder == "/usr/lib/python3.10/dist-packages"
    assert "include-system-site-packages = false in .venv/pyvenv.cfg" in found.reason
    assert found.remedy.endswith(": python3 -m venv --system-site-packages .venv")


def test_an_environment_elsewhere_is_named_in_full(tmp_path: Path) -> None:
    folder = tmp_path / "my harness"
    found = hidden_package("tensorrt", environment(folder, sees=False), system(tmp_path / "root"))
    assert found is not None and found.remedy.endswith(f": python3 -m venv --system-site-packages '{folder}'")


def test_an_environment_that_sees_the_system_hides_nothing(tmp_path: Path) -> None:
    assert hidden_package("tensorrt", environment(tmp_path / "v", sees=True), system(tmp_path / "root")) is None


def test_the_systems_own_python_hides_nothing(tmp_path: Path) -> None:
    python = python_environment(Path("/usr"), Path("/usr"), "3.10.12")
    assert not python.is_virtual and python.sees_base_packages
    assert hidden_package("tensorrt", python, system(tmp_path)) is None


@pytest.mark.parametrize("sees", [True, False])
def test_another_version_of_python_cannot_see_it_at_all(tmp_path: Path, sees: bool) -> None:
    python = environment(tmp_path / "v", sees=sees, version="3.12.4")
    found = hidden_package("tensorrt", python, system(tmp_path / "root"))
    assert found is not None
    assert "for Python 3.10, and this is Python 3.12" in found.reason
    assert "/usr/bin/python3.10 -m venv --system-site-packages .venv-python3.10" in found.remedy


@pytest.mark.parametrize("sees", [True, False])
def test_a_python_of_the_same_version_that_is_not_the_systems_does_not_look_there(tmp_path: Path, sees: bool) -> None:
    python = environment(tmp_path / "v", sees=sees, base="/opt/conda")
    found = hidden_package("tensorrt", python, system(tmp_path / "root"))
    assert found is not None
    assert "not the system's but that of /opt/conda" in found.reason
    assert "/usr/bin/python3.10 -m venv --system-site-packages" in found.remedy


def test_jetpack_5s_python_is_too_old(tmp_path: Path) -> None:
    root = system(tmp_path / "root", "usr/lib/python3.8/dist-packages/tensorrt", "python3.8")
    found = hidden_package("tensorrt", environment(tmp_path / "v", sees=False), root)
    assert found is not None
    assert found.remedy == "install JetPack 6 or newer: the harness needs Python 3.10 or newer"


def test_a_folder_without_a_version_is_the_system_pythons(tmp_path: Path) -> None:
    root = system(tmp_path / "root", "usr/lib/python3/dist-packages/tensorrt", "python3.12")
    python = environment(tmp_path / "v", sees=False, version="3.10.12")
    found = hidden_package("tensorrt", python, root)
    assert found is not None and "for Python 3.12" in found.reason


def test_the_one_for_this_python_counts_before_others(tmp_path: Path) -> None:
    root = system(tmp_path / "root", "usr/lib/python3.8/dist-packages/tensorrt")
    (root / JETPACK).mkdir(parents=True)
    found = hidden_package("tensorrt", environment(tmp_path / "v", sees=False), root)
    assert found is not None and found.folder == "/usr/lib/python3.10/dist-packages"


def test_where_the_system_has_none_nothing_is_hidden(tmp_path: Path) -> None:
    root = system(tmp_path / "root", "usr/lib/python3.10/dist-packages/numpy")
    assert hidden_package("tensorrt", environment(tmp_path / "v", sees=False), root) is None


def test_this_python_is_described() -> None:
    python = python_environment()
    assert python.minor == sys.version_info[:2]
    assert python.is_virtual == (sys.prefix != sys.base_prefix)
