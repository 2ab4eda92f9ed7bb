"""What a data set is to the rest of the harness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """One part of a data set, in a fixed order.

    Attributes:
        images: float32, shape (n, channels, height, width), in [0, 1].
        labels: int64, shape (n,), in [0, classes).
    """

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64] | slice) -> Split:
        """Return the images and labels at `index`."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class DataSet:
    """A training split and a test split of the same shape; the test split is for evaluation alone."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split

    def __post_init__(self) -> None:
        for name, split in (("training", self.train), ("test", self.test)):
            _check(f"{self.name}, {name} split", split, len(self.class_names))
        train, test = self.train.images.shape[1:], self.test.images.shape[1:]
        if train != test:
            raise InputError(f"{self.name}: training images have the shape {train} (CHW) but test images {test}")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image: channels, height, width."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Location:
    """What the user says about where a data set lies.

    Attributes:
        path: `data.path` of the experiment file, a file or a folder.
        data_dir: the command line's `--data-dir`.
        size: `data.size`, the height and width in pixels to which a folder's images are resized.
    """

    path: Path | None = None
    data_dir: Path | None = None
    size: int | None = None

    def refuse(self, name: str, *settings: str) -> None:
        """Raise InputError if one of `settings` ("path", "size") is set, for data sets on which it has no effect."""
        for setting in settings:
            if getattr(self, setting) is not None:
                raise InputError(f"data.{setting} has no effect on the data set {name}: remove it from the experiment")

    def required_path(self, name: str) -> Path:
        """Return `path`, looked for in the current folder and then in `data_dir`; InputError where it is not there."""
        if self.path is None:
            raise InputError(f"the data set {name} needs data.path in the experiment: set it to where the images lie")
        path = self.path.expanduser()
        below = [path] if self.data_dir is None else [path, self.data_dir.expanduser() / path]
        for candidate in below:
            if candidate.exists():
                return candidate
        raise InputError(f"{name}: {' and '.join(map(str, below))} not found: correct data.path or --data-dir")


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, found but not yet read.

    Attributes:
        name: the data set's name.
        files: every file that the data set is read from; their digests recognise it.
        read: reads and checks the files.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], DataSet]


def unit_range(pixels: npt.NDArray[np.uint8]) -> Images:
    """Return bytes scaled to float32 in [0, 1], without a second copy in between."""
    scaled: Images = np.divide(pixels, np.float32(255), dtype=np.float32)
    return scaled


def _check(where: str, split: Split, classes: int) -> None:
    if split.images.ndim != 4 or split.images.dtype != np.float32:
        raise InputError(f"{where}: images must be float32 NCHW, got {split.images.dtype} {split.images.shape}")
    if split.labels.ndim != 1 or split.images.size == 0 or len(split.images) != len(split):
        raise InputError(f"{where}: images of shape {split.images.shape} for labels of shape {split.labels.shape}")
    if split.labels.dtype != np.int64 or split.labels.min() < 0 or split.labels.max() >= classes:
        raise InputError(f"{where}: labels must be int64 in [0, {classes})")
    low, high = float(split.images.min()), float(split.images.max())
    if not (low >= 0.0 and high <= 1.0):
        raise InputError(f"{where}: pixels must lie in [0, 1], found [{low}, {high}]")
