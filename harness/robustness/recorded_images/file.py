"""Recorded adversarial images as one .npz file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from contracts.files import canonical_json, sha256_file, whole_file
from harness import __version__
from harness.attacks.ball import check_radius
from harness.robustness.recorded_images.replay import Recorded, RecordedImages

FORMAT = "harness attack images"
VERSION = 1

_KINDS = {
    "images": "f4",
    "labels": "i8",
    "rows": "i8",
    "iterate": "i8",
    "attack": "U",
    "source": "U",
    "epsilon": "f8",
    "norm": "U",
    "samples": "i8",
    "seed": "i8",
    "settings": "U",
    "data_sha256": "U",
    "model_sha256": "U",
}
_SINGLE = ("norm", "samples", "seed", "settings", "data_sha256", "model_sha256")
_AGAIN = "write it again with 'harness export --attack-images'"
_LEVEL = 1  # of zlib's

Arrays = Mapping[str, npt.NDArray[Any]]


def write(file: Path, recorded: RecordedImages) -> int:
    """Write recorded images, whole or not at all, and return the file's size in bytes.

    The same images give the same file to the last byte.
    """
    values = {field.name: getattr(recorded, field.name) for field in fields(recorded)}
    values["settings"] = canonical_json(recorded.settings)
    values |= {"format": FORMAT, "format_version": VERSION, "harness_version": __version__}
    with whole_file(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in values.items():
            array = io.BytesIO()
            np.lib.format.write_array(array, np.asarray(value), allow_pickle=False)
            # An entry of its own, for a constant date: numpy's are of the moment.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getbuffer(), zipfile.ZIP_DEFLATED, _LEVEL)
    return file.stat().st_size


def replay(file: Path) -> Recorded:
    """Return the attack that shows a file's images.

    Raises:
        InputError: see `read`.
    """
    stored = read(file)
    attacks, sources = ("+".join(sorted(set(names.tolist()))) for names in (stored.attack, stored.source))
    return Recorded(sha256=sha256_file(file), attacks=attacks, sources=sources, stored=stored)


def read(file: Path) -> RecordedImages:
    """Read recorded images.

    Raises:
        InputError: the file is missing, torn, of something else or of a newer version, or its images are none.
            Pickled objects are not loaded.
    """
    arrays = _arrays(file)
    if str(arrays.get("format")) != FORMAT or (version := arrays.get("format_version")) is None:
        raise InputError(f"{file} holds no adversarial images of this harness: {_AGAIN}")
    if version.shape or version.item() != VERSION:
        raise InputError(
            f"{file} is of version {version} of its format, written by harness {arrays.get('harness_version')}, and "
            f"this one reads version {VERSION}: install that harness here, or {_AGAIN} of this one"
        )
    _check_arrays(file, arrays)
    values: dict[str, Any] = {name: arrays[name] for name in _KINDS}
    values |= {name: arrays[name].item() for name in _SINGLE}
    values["settings"] = _settings(file, values["settings"])
    return RecordedImages(**values)


def _arrays(file: Path) -> Arrays:
    if not file.is_file():
        raise InputError(f"{file} is no file: name one that 'harness export --attack-images' wrote")
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise InputError(f"{file} holds no adversarial images of this harness: {_AGAIN}")
        with found as archive:
            return dict(archive)
    except InputError:
        raise
    except Exception as error:  # torn archives raise whatever their bytes lead to
        raise InputError(f"{file} cannot be read as .npz ({error}): copy it again, or {_AGAIN}") from error


def _check_arrays(file: Path, arrays: Arrays) -> None:
    if missing := [name for name in _KINDS if name not in arrays]:
        raise InputError(f"{file} has no array {' and none '.join(missing)}: {_AGAIN}")
    for name, kind in _KINDS.items():
        array = arrays[name]
        wanted = array.dtype.kind == "U" if kind == "U" else array.dtype == np.dtype(kind)
        shape = () if name in _SINGLE else (arrays["labels"].size,)
        if not wanted or (array.shape[:1] if name == "images" else array.shape) != shape:
            raise InputError(f"{file}: {name} are {array.dtype} of shape {array.shape}: {_AGAIN}")
    images = arrays["images"]
    if images.ndim != 4 or images.size == 0:
        raise InputError(f"{file}: images have the shape {images.shape}: {_AGAIN}")
    if not (images.min() >= 0.0 and images.max() <= 1.0):  # not finite fails too
        raise InputError(f"{file}: images are not all finite and in [0, 1]: {_AGAIN}")
    try:
        for epsilon in np.unique(arrays["epsilon"]):
            check_radius(arrays["norm"].item(), epsilon)
    except InputError as error:
        raise InputError(f"{file}: {error}; {_AGAIN}") from error


def _settings(file: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{file}: settings are no JSON ({error}): {_AGAIN}") from error
