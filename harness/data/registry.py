"""The data sets known by name, and the digest that recognises their files.

A new data set is one file with a `find(location)` and one line in `_FINDERS`.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from contracts.errors import unknown_name
from contracts.files import sha256_file, sha256_json
from harness.data.dataset import Location, Source

_FINDERS = {
    "digits": "harness.data.digits:find",
    "fashion-mnist": "harness.data.fashion_mnist:find",
    "cifar10": "harness.data.cifar10:find",
    "image-folder": "harness.data.image_folder:find",
    "npz": "harness.data.npz:find",
}

NAMES = tuple(_FINDERS)

MAX_FILES_READ = 5000
"""With more files than this, size and modification time stand in for the content in `fingerprint`."""


def find(name: str, *, path: Path | None = None, data_dir: Path | None = None, size: int | None = None) -> Source:
    """Find a data set's files without reading them; the public ones are downloaded where they are nowhere found.

    Args:
        name: one of `NAMES`, or `package.module:callable` for a user's own (see `harness.data.factory`).
        path: `data.path` of the experiment file, a file or a folder.
        data_dir: the command line's `--data-dir`; wins over `path` for fashion-mnist and cifar10, and is where a
            relative `path` of image-folder and npz is looked for after the current folder.
        size: `data.size`, the height and width in pixels to which image-folder resizes.

    Raises:
        InputError: the name is unknown, or the files are not where the settings say.
        MissingDependencyError: the data set needs a package that is not installed.
    """
    location = Location(path=path, data_dir=data_dir, size=size)
    if ":" in name:
        from harness.data import factory

        return factory.find(name, location)
    check_name(name)
    module, function = _FINDERS[name].split(":")
    source: Source = getattr(import_module(module), function)(location)
    return source


def check_name(name: str) -> None:
    """Refuse a name that is not one of `NAMES`.

    Raises:
        InputError: with the nearest known name.
    """
    if name not in _FINDERS:
        raise unknown_name("data set", name, [*NAMES, "package.module:callable"])


def fingerprint(source: Source) -> str:
    """Return the SHA-256 over every file's name and content, the same wherever the data set's folder lies.

    With more than `MAX_FILES_READ` files, size and modification time stand in for the content.
    """
    base = Path(os.path.commonpath([file.absolute().parent for file in source.files]))
    names = [file.absolute().relative_to(base).as_posix() for file in source.files]
    recognise = _content if len(source.files) <= MAX_FILES_READ else _stamp
    return sha256_json(sorted([name, recognise(file)] for name, file in zip(names, source.files, strict=True)))


def _content(file: Path) -> str:
    return sha256_file(file)


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} bytes, {status.st_mtime_ns} ns"
