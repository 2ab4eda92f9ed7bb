"""A user's own images and labels in one `.npz` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from harness.data.dataset import DataSet, Images, Labels, Location, Source, Split, unit_range
from harness.data.stratified import stratified_split

SPLIT_SEED = 20_240
"""Decides which images are test images where the file has no test split, whatever the experiment's seed."""

TEST_SHARE = 0.2

_CHANNELS = (1, 3)
_Arrays = dict[str, npt.NDArray[Any]]
_KEYS = ("images", "labels", "test_images", "test_labels", "class_names")


def find(location: Location) -> Source:
    """Find the file; it is not opened."""
    location.refuse("npz", "size")
    file = location.required_path("npz")
    if not file.is_file():
        raise InputError(f"{file} is no file: set data.path to an .npz file")
    return Source("npz", (file,), lambda: _read(file))


def _read(file: Path) -> DataSet:
    arrays = _load(file)
    images, labels = _images(file, arrays, "images"), _labels(file, arrays, "labels")
    if len(images) != len(labels) or not len(labels):
        raise InputError(f"{file} holds {len(images)} images but {len(labels)} labels: give each image one label")
    whole = Split(images, labels)
    class_names = _class_names(file, arrays, labels)
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise InputError(f"{file} holds only one of test_images and test_labels: give both or neither")
    if "test_images" in arrays:
        train, test = whole, Split(_images(file, arrays, "test_images"), _labels(file, arrays, "test_labels"))
    else:
        train_part, test_part = stratified_split(labels, max(1, round(len(labels) * TEST_SHARE)), SPLIT_SEED)
        train, test = whole.take(train_part), whole.take(test_part)
    return DataSet("npz", class_names, train, test)


def _load(file: Path) -> _Arrays:
    try:
        # Without pickles, so that the file runs nothing.
        with np.load(file, allow_pickle=False) as archive:
            found = list(archive.files)
            arrays = {key: archive[key] for key in _KEYS if key in found}
    except Exception as error:  # torn archives raise whatever their bytes lead to
        if "Object arrays" in str(error):
            raise InputError(
                f"{file} holds an array of Python objects, which is not loaded: save images as uint8 or float32, "
                "labels as int64 and class_names as text"
            ) from error
        raise InputError(f"{file} cannot be read as .npz ({error}): write it again with numpy.savez") from error
    missing = [key for key in ("images", "labels") if key not in arrays]
    if missing:
        raise InputError(
            f"{file} has no {' and no '.join(missing)}, it holds {', '.join(found) or 'nothing'}: rename them"
        )
    return arrays


def _images(file: Path, arrays: _Arrays, key: str) -> Images:
    values = arrays[key]
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


def _labels(file: Path, arrays: _Arrays, key: str) -> Labels:
    labels = arrays[key]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(f"{file}: {key} are {labels.dtype} of shape {labels.shape}: save them as int64 of shape (n,)")
    if len(labels) and labels.min() < 0:
        raise InputError(f"{file}: {key} go down to {labels.min()}: number the classes from 0")
    return labels.astype(np.int64)


def _class_names(file: Path, arrays: _Arrays, labels: Labels) -> tuple[str, ...]:
    highest = int(labels.max())
    if "class_names" not in arrays:
        if highest >= len(labels):
            raise InputError(f"{file}: labels go up to {highest} for {len(labels)} images: number the classes from 0")
        return tuple(str(label) for label in range(highest + 1))
    names = arrays["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1 or len(names) <= highest:
        raise InputError(
            f"{file}: class_names are {names.dtype} of shape {names.shape}: save a list of at least {highest + 1} names"
        )
    return tuple(str(name) for name in names)
