"""CIFAR-10: 50,000 training and 10,000 test photographs in colour, 32 x 32 pixels, in the files for Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from harness.data.array_pickle import read_pickle
from harness.data.dataset import DataSet, Location, Source, Split, unit_range
from harness.data.public import PublicDataSet, find_files

_FOLDER = "cifar-10-batches-py"
_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
_SHAPE = (3, 32, 32)


def find(location: Location) -> Source:
    """Find the seven files, or download them by torchvision."""
    data_set = PublicDataSet(
        name="cifar10",
        subfolders=("cifar10", f"cifar10/{_FOLDER}", _FOLDER),
        files=_FILES,
        system_folders=(),
        package=None,
        download=_download,
    )
    files = find_files(data_set, location)
    return Source("cifar10", files, lambda: _read(files))


def _download(folder: Path) -> list[Path]:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    # Not CIFAR10(download=True), which would load the pickles too.
    download_and_extract_archive(CIFAR10.url, folder, filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
    return [folder / _FOLDER / name for name in _FILES]


def _read(files: tuple[Path, ...]) -> DataSet:
    *train, test, meta = files
    names = _field(meta, read_pickle(meta), "label_names")
    if not (isinstance(names, list) and names and all(isinstance(name, str | bytes) for name in names)):
        raise _corrupt(meta, "its label_names are no list of names")
    class_names = tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in names)
    return DataSet("cifar10", class_names, _split(train, len(names)), _split([test], len(names)))


def _split(files: list[Path], classes: int) -> Split:
    batches = [_batch(file, classes) for file in files]
    images = np.concatenate([pixels for pixels, _ in batches])
    return Split(unit_range(images), np.concatenate([labels for _, labels in batches]))


def _batch(file: Path, classes: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    entry = read_pickle(file)
    pixels, labels = _field(file, entry, "data"), _field(file, entry, "labels")
    values = int(np.prod(_SHAPE))
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (values,)):
        raise _corrupt(file, f"its data are not rows of {values} bytes")
    numbers = list(labels) if isinstance(labels, list | np.ndarray) else []
    if len(numbers) != len(pixels):
        raise _corrupt(file, f"it holds {len(pixels)} images but {len(numbers)} labels")
    if not all(isinstance(number, int | np.integer) and 0 <= number < classes for number in numbers):
        raise _corrupt(file, f"its labels are not all within 0 to {classes - 1}")
    return pixels.reshape(-1, *_SHAPE), np.array(numbers, dtype=np.int64)


def _field(file: Path, entry: dict[str, Any], key: str) -> object:
    if key not in entry:
        raise _corrupt(file, f"it has no {key}, only {', '.join(sorted(entry)) or 'nothing'}")
    return entry[key]


def _corrupt(file: Path, why: str) -> InputError:
    return InputError(f"{file} is corrupt, {why}: replace it with a whole copy")
