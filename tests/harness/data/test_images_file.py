from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from harness.data.images_file import read_images

pytestmark = pytest.mark.core

BYTES = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 7), dtype=np.uint8)


def saved(folder: Path, images: Any, kind: str = "npz") -> Path:
    path = folder / f"images.{kind}"
    np.save(path, images) if kind == "npy" else np.savez(path, images=images)
    return path


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_bytes_and_floats_become_the_same_images(tmp_path: Path, kind: str) -> None:
    expected = BYTES.astype(np.float32) / np.float32(255)
    for images in (BYTES, expected, BYTES.transpose(0, 2, 3, 1)):
        read = read_images(saved(tmp_path, images, kind))
        assert read.dtype == np.float32 and read.flags.c_contiguous
        np.testing.assert_array_equal(read, expected)


def test_gray_images_need_no_channel_axis(tmp_path: Path) -> None:
    assert read_images(saved(tmp_path, BYTES[:, 0])).shape == (6, 1, 5, 7)


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize(
    ("images", "why"),
    [
        (BYTES[:0], r"of shape \(0, 3, 5, 7\) are none: calibrate on some"),
        (BYTES[0, 0], r"have the shape \(5, 7\)"),
        (np.zeros((6, 5, 5, 5), np.uint8), "1 or 3 channels"),
        (BYTES.astype(np.int32), "images are int32: save them as uint8"),
        (BYTES.astype(np.float32), r"lie within \[0, 255\]: scale them"),
        (np.full(BYTES.shape, np.nan), r"lie within \[nan, nan\]"),
        (np.full(BYTES.shape, np.inf), r"lie within \[inf, inf\]"),
        (BYTES / 255 - 0.5, r"lie within \[-0.5"),
        (np.array([print, None]), "array of Python objects, which is not loaded"),
    ],
)
def test_what_is_no_set_of_images_is_refused(tmp_path: Path, kind: str, images: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_images(saved(tmp_path, images, kind))


def test_files_that_are_not_what_they_are_called_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file: name an"):
        read_images(tmp_path / "absent.npz")
    np.savez(tmp_path / "other.npz", pixels=BYTES)
    with pytest.raises(InputError, match="has no images, it holds pixels: rename"):
        read_images(tmp_path / "other.npz")
    for kind in ("npz", "npy"):
        torn = saved(tmp_path, BYTES, kind)
        torn.write_bytes(torn.read_bytes()[:90])
        with pytest.raises(InputError, match=rf"cannot be read as \.{kind}"):
            read_images(torn)
    renamed = saved(tmp_path, BYTES).rename(tmp_path / "images.npy")
    with pytest.raises(InputError, match=r"an archive of several arrays: name it \.npz"):
        read_images(renamed)
