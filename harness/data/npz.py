"""A user's own images and labels in one `.npz` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contracts.errors import InputError
from harness.data.dataset import DataSet, Labels, Location, Source, Split
from harness.data.images_file import Arrays, as_images, read_arrays
from harness.data.stratified import stratified_split

SPLIT_SEED = 20_240
"""Decides which images are test images where the file has no test split, whatever the experiment's seed."""

TEST_SHARE = 0.2

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
    images, labels = as_images(file, "images", arrays["images"]), _labels(file, arrays, "labels")
    if len(images) != len(labels) or not len(labels):
        raise InputError(f"{file} holds {len(images)} images but {len(labels)} labels: give each image one label")
    whole = Split(images, labels)
    class_names = _class_names(file, arrays, labels)
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise InputError(f"{file} holds only one of test_images and test_labels: give both or neither")
    if "test_images" in arrays:
        train, test = (
            whole,
            Split(as_images(file, "test_images", arrays["test_images"]), _labels(file, arrays, "test_labels")),
        )
    else:
        train_part, test_part = stratified_split(labels, max(1, round(len(labels) * TEST_SHARE)), SPLIT_SEED)
        train, test = whole.take(train_part), whole.take(test_part)
    return DataSet("npz", class_names, train, test)


def _load(file: Path) -> Arrays:
    arrays, found = read_arrays(file, _KEYS)
    missing = [key for key in ("images", "labels") if key not in arrays]
    if missing:
        raise InputError(
            f"{file} has no {' and no '.join(missing)}, it holds {', '.join(found) or 'nothing'}: rename them"
        )
    return arrays


def _labels(file: Path, arrays: Arrays, key: str) -> Labels:
    labels = arrays[key]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(f"{file}: {key} are {labels.dtype} of shape {labels.shape}: save them as int64 of shape (n,)")
    if len(labels) and labels.min() < 0:
        raise InputError(f"{file}: {key} go down to {labels.min()}: number the classes from 0")
    return labels.astype(np.int64)


def _class_names(file: Path, arrays: Arrays, labels: Labels) -> tuple[str, ...]:
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
