"""A folder of images: `train/<class>/*.png` and `test/<class>/*.png`, with `val` as another name for `test`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import InputError, MissingDependencyError
from harness.data.dataset import DataSet, Location, Source, Split, unit_range

if TYPE_CHECKING:
    from PIL.Image import Image

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_GRAY = "L"
_COLOUR = frozenset({"L", "LA", "1", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
"""Modes of Pillow with 8 bits or fewer a channel, which convert to RGB without clipping."""


@dataclass(frozen=True)
class _Labelled:
    """A split's image files, sorted, and the class of each."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]


def find(location: Location) -> Source:
    """Find the image files of both splits; none is opened."""
    if location.size is not None and location.size < 1:
        raise InputError(f"data.size is {location.size}: set it to the images' height and width in pixels")
    folder = location.required_path("image-folder")
    if not (folder / "train").is_dir():
        raise InputError(f"{folder} has no folder train: put the training images in {folder}/train/<class>/")
    test_folder = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    if test_folder is None:
        raise InputError(f"{folder} has no folder test or val: put the test images in {folder}/test/<class>/")
    class_names = _class_folders(folder / "train")
    unknown = [name for name in _class_folders(test_folder) if name not in class_names]
    if unknown:
        raise InputError(
            f"{test_folder / unknown[0]} has no counterpart in {folder / 'train'}: add it there or remove it"
        )
    train, test = _listed(folder / "train", class_names), _listed(test_folder, class_names)
    empty = set(range(len(class_names))).difference(train.labels)
    if empty:
        raise InputError(f"{folder / 'train' / class_names[min(empty)]} holds no images: add some or remove it")
    if not class_names or not test.files:
        missing = test_folder if class_names else folder / "train"
        raise InputError(f"{missing} holds no images: put them in {missing}/<class>/")
    return Source("image-folder", train.files + test.files, lambda: _read(class_names, train, test, location.size))


def _class_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def _listed(folder: Path, class_names: tuple[str, ...]) -> _Labelled:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        entries = (folder / name).iterdir() if (folder / name).is_dir() else ()
        images = sorted(file for file in entries if file.suffix.lower() in _SUFFIXES and not file.name.startswith("."))
        files += images
        labels += [label] * len(images)
    return _Labelled(tuple(files), tuple(labels))


def _read(class_names: tuple[str, ...], train: _Labelled, test: _Labelled, size: int | None) -> DataSet:
    pillow = _pillow()
    side = None if size is None else (size, size)
    shape, mode = _common_format(pillow, train.files + test.files, side)
    splits = [_split(pillow, part, shape, mode) for part in (train, test)]
    return DataSet("image-folder", class_names, *splits)


def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingDependencyError(
            "the data set image-folder needs Pillow, which is not installed: install it with: pip install pillow"
        ) from error
    return PIL.Image


def _common_format(
    pillow: ModuleType, files: tuple[Path, ...], resized: tuple[int, int] | None
) -> tuple[tuple[int, int], str]:
    """Return the width and height that all images get, and "L" if all are gray or else "RGB"; reads headers alone."""
    shape = resized
    mode = _GRAY
    for file in files:
        with _opened(pillow, file) as image:
            if image.mode not in _COLOUR:
                raise InputError(f"{file} has pixels of the kind {image.mode!r}: save it with 8 bits a channel")
            if image.mode != _GRAY:
                mode = "RGB"
            shape = shape or image.size
            if resized is None and image.size != shape:
                (a, b), (c, d) = shape, image.size
                raise InputError(
                    f"images differ in size, {files[0]} is {a} x {b} and {file} {c} x {d}: set data.size to resize all"
                )
    assert shape is not None
    return shape, mode


def _split(pillow: ModuleType, part: _Labelled, shape: tuple[int, int], mode: str) -> Split:
    width, height = shape
    channels = 1 if mode == _GRAY else 3
    pixels = np.empty((len(part.files), channels, height, width), dtype=np.uint8)
    for index, file in enumerate(part.files):
        with _opened(pillow, file) as image:
            try:
                converted = image.convert(mode)
                if converted.size != shape:
                    converted = converted.resize(shape, pillow.Resampling.BILINEAR)
            except Exception as error:
                raise _unreadable(file, error) from error
        pixels[index] = np.asarray(converted).reshape(height, width, channels).transpose(2, 0, 1)
    return Split(unit_range(pixels), np.array(part.labels, dtype=np.int64))


def _opened(pillow: ModuleType, file: Path) -> Image:
    try:
        image: Image = pillow.open(file)
    except Exception as error:  # Pillow's plugins raise whatever the broken bytes lead to
        raise _unreadable(file, error) from error
    return image


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"{file} cannot be read as an image ({error}): replace or remove it")
