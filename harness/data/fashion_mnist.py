"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, gray, 28 x 28 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contracts.errors import InputError
from harness.data.dataset import DataSet, Location, Source, Split, unit_range
from harness.data.idx import read_idx
from harness.data.public import PublicDataSet, find_files

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def find(location: Location) -> Source:
    """Find the four files, or download them by torchvision."""
    data_set = PublicDataSet(
        name="fashion-mnist",
        subfolders=("FashionMNIST/raw", "fashion-mnist"),
        files=_FILES,
        system_folders=(DEBIAN_FOLDER,),
        package="apt-get install dataset-fashion-mnist",
        download=_download,
    )
    files = find_files(data_set, location)
    return Source("fashion-mnist", files, lambda: _read(files))


def _download(folder: Path) -> list[Path]:
    from torchvision.datasets import FashionMNIST

    FashionMNIST(folder, download=True)
    return [folder / "FashionMNIST" / "raw" / f"{name}.gz" for name in _FILES]


def _read(files: tuple[Path, ...]) -> DataSet:
    train_images, train_labels, test_images, test_labels = files
    return DataSet("fashion-mnist", CLASS_NAMES, _split(train_images, train_labels), _split(test_images, test_labels))


def _split(images_file: Path, labels_file: Path) -> Split:
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise InputError(
            f"{images_file} holds {len(images)} images but {labels_file} {len(labels)} labels: "
            "replace both with whole copies"
        )
    if len(labels) and labels.max() >= len(CLASS_NAMES):
        raise InputError(f"{labels_file} is corrupt, it holds the label {labels.max()}: replace it with a whole copy")
    return Split(unit_range(images[:, np.newaxis]), labels.astype(np.int64))
