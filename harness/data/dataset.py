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


def _check(where: str, split: Split, classes: int) -> None:
    if split.images.ndim != 4 or split.images.dtype != np.float32:
        raise InputError(f"{where}: images must be float32 NCHW, got {split.images.dtype} {split.images.shape}")
    if len(split) == 0 or len(split.images) != len(split):
        raise InputError(f"{where}: {len(split.images)} images for {len(split)} labels")
    if split.labels.dtype != np.int64 or split.labels.min() < 0 or split.labels.max() >= classes:
        raise InputError(f"{where}: labels must be int64 in [0, {classes})")
    low, high = float(split.images.min()), float(split.images.max())
    if not (low >= 0.0 and high <= 1.0):
        raise InputError(f"{where}: pixels must lie in [0, 1], found [{low}, {high}]")
