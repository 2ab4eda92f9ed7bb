"""The Python that runs, its virtual environment, and packages of the system that it cannot see."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.devices.tree import SYSTEM_ROOT, read_fields

OLDEST_PYTHON = (3, 10)
"""What the harness needs."""

_SYSTEM_PREFIX = Path("/usr")
_FOLDERS = ("usr/lib/python3*/dist-packages", "usr/local/lib/python3*/dist-packages")


@dataclass(frozen=True)
class PythonEnvironment:
    """A Python interpreter.

    Attributes:
        version: "3.10.12".
        prefix: where its packages are: the folder of the virtual environment, or that of the interpreter.
        base_prefix: where the interpreter itself is; `/usr` for the system's own.
        sees_base_packages: whether it looks into the interpreter's own packages, as any does that is no plain virtual
            environment.
    """

    version: str
    prefix: Path
    base_prefix: Path
    sees_base_packages: bool

    @property
    def is_virtual(self) -> bool:
        """Whether it is a virtual environment."""
        return self.prefix != self.base_prefix

    @property
    def minor(self) -> tuple[int, int]:
        """The version without its last number: packages are made for it."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


@dataclass(frozen=True)
class HiddenPackage:
    """A package of the system that this Python cannot import.

    Attributes:
        folder: where it is.
        reason: why it is not seen, in a clause.
        remedy: what mends that.
    """

    folder: str
    reason: str
    remedy: str


def python_environment(
    prefix: Path | None = None, base_prefix: Path | None = None, version: str | None = None
) -> PythonEnvironment:
    """Describe the Python that runs, or another one by its folders and its version."""
    prefix, base_prefix = prefix or Path(sys.prefix), base_prefix or Path(sys.base_prefix)
    settings = dict(read_fields(prefix / "pyvenv.cfg", separator="="))
    return PythonEnvironment(
        version=version or platform.python_version(),
        prefix=prefix,
        base_prefix=base_prefix,
        sees_base_packages=prefix == base_prefix or settings.get("include-system-site-packages", "").lower() == "true",
    )


def hidden_package(name: str, python: PythonEnvironment, root: Path = SYSTEM_ROOT) -> HiddenPackage | None:
    """Return a package that the system has (apt puts JetPack's TensorRT there) and `python` does not look for.

    Args:
        name: what is imported.
        python: the interpreter, which does not find the package.
        root: the system's root folder.
    """
    found = sorted(_places(name, root), key=lambda place: place[1] != python.minor)
    for folder, minor in found:
        if minor != python.minor:
            return _of_another_version(folder, minor, python)
        if python.base_prefix != _SYSTEM_PREFIX:
            return HiddenPackage(
                folder,
                f"it is in {folder}, and this Python is not the system's but that of {python.base_prefix}",
                f"make an environment of the system's Python and install the harness into it: {_make(minor)}",
            )
        if not python.sees_base_packages:
            return HiddenPackage(
                folder,
                f"it is in {folder}, and this virtual environment does not look there "
                f"(include-system-site-packages = false in {_short(python.prefix)}/pyvenv.cfg)",
                "let it see the system's packages: "
                f"python3 -m venv --system-site-packages {shlex.quote(_short(python.prefix))}",
            )
    return None


def _of_another_version(folder: str, minor: tuple[int, int], python: PythonEnvironment) -> HiddenPackage:
    theirs, ours = _dotted(minor), _dotted(python.minor)
    reason = f"it is in {folder}, for Python {theirs}, and this is Python {ours}, which cannot load it"
    if minor < OLDEST_PYTHON:
        oldest = _dotted(OLDEST_PYTHON)
        return HiddenPackage(folder, reason, f"install JetPack 6 or newer: the harness needs Python {oldest} or newer")
    return HiddenPackage(
        folder, reason, f"make an environment of Python {theirs} and install the harness into it: {_make(minor)}"
    )


def _places(name: str, root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the folders that hold the package, as the machine itself names them, and the Python each is for."""
    for pattern in _FOLDERS:
        for folder in root.glob(pattern):
            minor = _numbers(folder.parent.name) or _numbers(_link(root / "usr/bin/python3"))
            if minor is not None and (folder / name).is_dir():
                yield f"/{folder.relative_to(root)}", minor


def _make(minor: tuple[int, int]) -> str:
    """Return the command that makes an environment of the system's Python; it overwrites none."""
    python = f"python{_dotted(minor)}"
    return f"/usr/bin/{python} -m venv --system-site-packages .venv-{python}"


def _numbers(name: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"python(\d+)\.(\d+)", name)
    return (int(found[1]), int(found[2])) if found else None


def _link(path: Path) -> str:
    try:
        return path.readlink().name
    except OSError:
        return ""


def _short(folder: Path) -> str:
    """Return a folder as it is typed from here."""
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)


def _dotted(minor: tuple[int, int]) -> str:
    return ".".join(map(str, minor))
