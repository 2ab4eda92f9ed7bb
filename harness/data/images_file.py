"""Images in a NumPy file: calibration images without labels, and what every such file's pixels become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from harness.data.dataset import Images, unit_range

_CHANNELS = (1, 3)
_KEY = "images"
Arrays = dict[str, npt.NDArray[Any]]


def read_images(path: Path) -> Images:
    """Read images that need no labels, for calibration.

    Args:
        path: `.npz` with an array `images`, or `.npy`; uint8, or floating within [0, 1]; NCHW, NHWC, or NHW.

    Returns:
        At least one image: float32, shape (n, channels, height, width), in [0, 1].

    Raises:
        InputError: the file cannot be read, or holds something else. Pickled objects are not loaded.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file: name an .npz file with an array {_KEY!r}, or an .npy file")
    if path.suffix == ".npy":
        values = _array(path)
    else:
        arrays, found = read_arrays(path, [_KEY])
        if _KEY not in arrays:
            raise InputError(f"{path} has no {_KEY}, it holds {', '.join(found) or 'nothing'}: rename the images")
        values = arrays[_KEY]
    if not values.size:
        raise InputError(f"{path}: {_KEY} of shape {values.shape} are none: calibrate on some hundred images")
    return as_images(path, _KEY, values)


def read_arrays(file: Path, keys: Sequence[str]) -> tuple[Arrays, list[str]]:
    """Return those of an `.npz` file's arrays that `keys` names, and the names of all that it holds.

    Raises:
        InputError: the file cannot be read, or one of them is of Python objects.
    """
    try:
        # Without pickles, so that the file runs nothing.
        with np.load(file, allow_pickle=False) as archive:
            found = list(archive.files)
            return {key: archive[key] for key in keys if key in found}, found
    except Exception as error:  # torn archives raise whatever their bytes lead to
        raise _unreadable(file, ".npz", "savez", error) from error


def as_images(file: Path, key: str, values: npt.NDArray[Any]) -> Images:
    """Return an array of a file as images: float32 NCHW, contiguous, in [0, 1].

    Args:
        file: for the sentences, as is `key`.
        key: the array's name.
        values: uint8, or floating within [0, 1]; NHW, or NCHW or NHWC of 1 or 3 channels.

    Raises:
        InputError: they are neither, or it cannot be told which.
    """
    pixels = _channels_first(file, key, values)
    if values.dtype == np.uint8:
        return unit_range(pixels)
    if values.dtype.kind != "f":
        raise InputError(f"{file}: {key} are {values.dtype}: save them as uint8, or as float32 within [0, 1]")
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
        raise InputError(
            f"{file}: {key} lie within [{values.min():g}, {values.max():g}]: scale them to [0, 1] or save them as uint8"
        )
    return np.ascontiguousarray(pixels, dtype=np.float32)


def _array(file: Path) -> npt.NDArray[Any]:
    try:
        values = np.load(file, allow_pickle=False)
    except Exception as error:  # as above
        raise _unreadable(file, ".npy", "save", error) from error
    if not isinstance(values, np.ndarray):
        raise InputError(f"{file} is an archive of several arrays: name it .npz")
    return values


def _unreadable(file: Path, kind: str, writer: str, error: Exception) -> InputError:
    if "Object arrays" in str(error):
        return InputError(
            f"{file} holds an array of Python objects, which is not loaded: save images as uint8 or float32, "
            "labels as int64 and class_names as text"
        )
    return InputError(f"{file} cannot be read as {kind} ({error}): write it again with numpy.{writer}")


def _channels_first(file: Path, key: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.ndim == 3:
        return values[:, np.newaxis]
    if values.ndim != 4:
        raise InputError(f"{file}: {key} have the shape {values.shape}: save them as NHW, NCHW or NHWC")
    first, last = values.shape[1] in _CHANNELS, values.shape[3] in _CHANNELS
    if first and last:
        raise InputError(
            f"{file}: {key} of shape {values.shape} can be NCHW or NHWC: save gray images as NHW, or make both sides "
            "of each image larger than 3 pixels"
        )
    if not first and not last:
        raise InputError(f"{file}: {key} have the shape {values.shape}: save them with 1 or 3 channels as NCHW or NHWC")
    return values if first else np.ascontiguousarray(values.transpose(0, 3, 1, 2))
