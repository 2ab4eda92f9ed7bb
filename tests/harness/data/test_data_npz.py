from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from harness.data import npz
from harness.data.dataset import DataSet, Location

pytestmark = pytest.mark.core

LABELS = np.arange(20) % 4
BYTES = np.random.default_rng(0).integers(0, 256, (20, 5, 6), dtype=np.uint8)


def read(folder: Path, **arrays: np.ndarray[Any, Any]) -> DataSet:
    named: dict[str, Any] = dict(arrays)
    np.savez(folder / "data.npz", **named)
    return npz.find(Location(path=folder / "data.npz")).read()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((20, 5, 6), (1, 5, 6)),
        ((20, 1, 5, 6), (1, 5, 6)),
        ((20, 5, 6, 1), (1, 5, 6)),
        ((20, 3, 5, 6), (3, 5, 6)),
        ((20, 5, 6, 3), (3, 5, 6)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_every_layout_becomes_channels_first(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...], dtype: type[Any]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    images = pixels if dtype is np.uint8 else (pixels / 255).astype(dtype)
    data = read(tmp_path, images=images, labels=LABELS, test_images=images[:7], test_labels=LABELS[:7])
    assert data.input_shape == expected
    assert (len(data.train), len(data.test)) == (20, 7)
    as_read = data.test.images
    if shape[-1] in (1, 3):
        as_read = as_read.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(np.rint(as_read.reshape(pixels[:7].shape) * 255), pixels[:7])


def test_without_a_test_split_a_fifth_of_each_class_becomes_one(tmp_path: Path) -> None:
    images = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), dtype=np.uint8)
    data, again = (read(tmp_path, images=images, labels=LABELS) for _ in range(2))
    assert np.bincount(data.test.labels).tolist() == [1, 1, 1, 1]
    parts = [np.rint(part.images[:, 0, 0, 0] * 255).astype(int).tolist() for part in (data.train, data.test)]
    assert sorted(parts[0] + parts[1]) == list(range(20))
    np.testing.assert_array_equal(data.test.images, again.test.images)


def test_class_names_are_kept_or_numbered(tmp_path: Path) -> None:
    assert read(tmp_path, images=BYTES, labels=LABELS).class_names == ("0", "1", "2", "3")
    names = np.array(["oak", "ash", "elm", "fir", "yew"])
    assert read(tmp_path, images=BYTES, labels=LABELS, class_names=names).class_names == tuple(names.tolist())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"labels": None}, "has no labels, it holds images"),
        ({"images": None, "pixels": BYTES}, "has no images, it holds labels, pixels"),
        ({"test_images": BYTES}, "only one of test_images and test_labels"),
        ({"images": BYTES[0]}, "shape (5, 6)"),
        ({"images": np.zeros((20, 3, 8, 3), dtype=np.uint8)}, "can be NCHW or NHWC"),
        ({"images": np.zeros((20, 4, 8, 8), dtype=np.uint8)}, "1 or 3 channels"),
        ({"images": BYTES.astype(np.int64)}, "images are int64"),
        ({"images": BYTES.astype(np.float32)}, "lie within [0, 255]"),
        ({"images": np.full((20, 5, 6), np.nan)}, "lie within [nan, nan]"),
        ({"images": np.full((20, 5, 6), -0.1)}, "lie within [-0.1, -0.1]"),
        ({"images": BYTES[:19]}, "19 images but 20 labels"),
        ({"images": BYTES[:0], "labels": LABELS[:0]}, "0 images but 0 labels"),
        ({"images": np.zeros((20, 1, 0, 9), dtype=np.uint8)}, "images of shape"),
        ({"labels": LABELS.astype(np.float32)}, "labels are float32 of shape (20,)"),
        ({"labels": LABELS[:, None]}, "of shape (20, 1)"),
        ({"labels": LABELS - 1}, "labels go down to -1"),
        ({"labels": LABELS * 10**12}, "labels go up to 3000000000000 for 20 images"),
        ({"labels": np.arange(20)}, "too few for a test part of 4"),
        ({"class_names": np.array(["oak"])}, "at least 4 names"),
        ({"class_names": np.arange(4)}, "class_names are int64"),
        ({"test_images": BYTES[:2], "test_labels": np.array([0, 4])}, "test split: labels must be int64 in [0, 4)"),
        ({"test_images": BYTES[:2, :4], "test_labels": np.array([0, 1])}, "but test images (1, 4, 6)"),
        ({"images": np.array([None] * 20)}, "holds an array of Python objects"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    arrays = {"images": BYTES, "labels": LABELS, **changed}
    with pytest.raises(InputError, match=re.escape(why)):
        read(tmp_path, **{key: value for key, value in arrays.items() if value is not None})


def test_a_file_that_is_no_whole_archive_is_named(tmp_path: Path) -> None:
    read(tmp_path, images=BYTES, labels=LABELS)
    file = tmp_path / "data.npz"
    whole = file.read_bytes()
    np.save(tmp_path / "one.npy", BYTES)
    damaged = bytearray(whole)
    damaged[300] ^= 0xFF
    for content in (b"", b"no archive", whole[:-50], whole[:200], bytes(damaged), (tmp_path / "one.npy").read_bytes()):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"data\.npz cannot be read as \.npz"):
            npz.find(Location(path=file)).read()


def test_the_path_must_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no file: set data\.path"):
        npz.find(Location(path=tmp_path))
    with pytest.raises(InputError, match=r"data\.size has no effect on the data set npz"):
        npz.find(Location(path=tmp_path, size=8))
