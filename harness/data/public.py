"""Where the files of a public data set lie on this machine, or else how they get here."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import InputError, MissingDependencyError
from harness.data.dataset import Location

VARIABLE = "HARNESS_DATA"
"""The environment variable that names a folder of data sets."""


@dataclass(frozen=True)
class PublicDataSet:
    """A data set that everyone can get.

    Attributes:
        name: its name in the registry.
        subfolders: where its files may lie below a data folder, in the order of looking; the last one is where a
            download is kept.
        files: the names of its files, in reading order; each may also end in `.gz`, which is preferred.
        system_folders: where packages of the operating system put it.
        package: the command that installs it with the operating system's packages, or None.
        download: downloads it below an empty folder and returns its files; prints its own progress.
    """

    name: str
    subfolders: tuple[str, ...]
    files: tuple[str, ...]
    system_folders: tuple[Path, ...]
    package: str | None
    download: Callable[[Path], list[Path]]


def find_files(data_set: PublicDataSet, location: Location) -> tuple[Path, ...]:
    """Find the files, or download them into the download folder.

    Looked for in the given folder alone if one is given; else in $HARNESS_DATA, where the operating system's package
    puts them, and in the download folder.

    Raises:
        InputError: the given folder does not hold them, or they cannot be downloaded.
        MissingDependencyError: they are nowhere, and torchvision, which downloads them, is not installed.
    """
    location.refuse(data_set.name, "size")
    given = location.data_dir or location.path
    if given is not None:
        held = _held(data_set, given.expanduser())
        if held is None:
            state = "does not hold" if given.expanduser().is_dir() else "is no folder and so does not hold"
            raise InputError(f"{given} {state} all files of {data_set.name} ({_listed(data_set)}): {_ways(data_set)}")
        return held
    for folder in _known_folders(data_set):
        held = _held(data_set, folder)
        if held is not None:
            return held
    return _downloaded(data_set)


def download_folder() -> Path:
    """Return the folder that keeps downloaded data sets: below `$XDG_CACHE_HOME`, which is `~/.cache` if unset."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "edge-robustness-harness"


def _known_folders(data_set: PublicDataSet) -> Iterator[Path]:
    named = os.environ.get(VARIABLE)
    if named:
        yield Path(named).expanduser()
    yield from data_set.system_folders
    yield download_folder()


def _held(data_set: PublicDataSet, folder: Path) -> tuple[Path, ...] | None:
    for place in (folder, *(folder / name for name in data_set.subfolders)):
        found = [_either(place / name) for name in data_set.files]
        whole = tuple(file for file in found if file is not None)
        if len(whole) == len(found):
            return whole
    return None


def _either(file: Path) -> Path | None:
    # The compressed one first: it carries a checksum, and an unpacking that was cut short leaves half of the other.
    candidates = (file.with_name(file.name + ".gz"), file)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _downloaded(data_set: PublicDataSet) -> tuple[Path, ...]:
    kept = download_folder() / data_set.subfolders[-1]
    try:
        kept.mkdir(parents=True, exist_ok=True)
        # Files appear under their final name only once torchvision has checked them.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=download_folder()) as folder:
            with contextlib.redirect_stdout(sys.stderr):
                files = data_set.download(Path(folder))
            for file in files:
                file.replace(kept / file.name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{data_set.name} is not on this machine and torchvision, which downloads it, is not installed: "
            f"install it with: pip install 'edge-robustness-harness[train]', or {_ways(data_set)}"
        ) from error
    except Exception as error:  # whatever a network, a server or a full disk leads to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{data_set.name} is not on this machine and cannot be downloaded ({reason}): {_ways(data_set)}"
        ) from error
    held = _held(data_set, kept)
    if held is None:
        raise InputError(f"the download of {data_set.name} lacks files: {_ways(data_set)}")
    return held


def _listed(data_set: PublicDataSet) -> str:
    return ", ".join(data_set.files)


def _ways(data_set: PublicDataSet) -> str:
    last = data_set.package or "leave both out to download it"
    return f"name a folder that holds it with --data-dir DIR or ${VARIABLE}, or {last}"
