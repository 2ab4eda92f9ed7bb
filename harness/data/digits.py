"""scikit-learn's handwritten digits: 1,797 gray images of 8 x 8 pixels that come with the package."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from contracts.errors import InputError, MissingDependencyError
from harness.data.dataset import DataSet, Location, Source, Split
from harness.data.stratified import stratified_split

SPLIT_SEED = 20_240
"""Decides which digits are test images, whatever the experiment's seed: results stay comparable across seeds."""

TEST_IMAGES = 360
"""Of 1,797; the other 1,437 are for training."""

_BRIGHTEST = 16
_SIDE = 8


def find(location: Location) -> Source:
    """Find the file that scikit-learn carries; the package itself is not imported."""
    location.refuse("digits", "path", "size")
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise MissingDependencyError(
            "the data set digits comes with scikit-learn, which is not installed: "
            "install it with: pip install 'edge-robustness-harness[train]'"
        )
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not file.is_file():
        raise MissingDependencyError(
            f"scikit-learn carries no {file}: install it again with: pip install --force-reinstall scikit-learn"
        )
    return Source("digits", (file,), lambda: _read(file))


def _read(file: Path) -> DataSet:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    except (OSError, EOFError, ValueError, UserWarning) as error:
        raise _broken(file) from error
    if table.shape[1] != _SIDE * _SIDE + 1 or len(table) <= TEST_IMAGES:
        raise _broken(file)
    images = (table[:, :-1] / _BRIGHTEST).reshape(-1, 1, _SIDE, _SIDE)
    whole = Split(np.ascontiguousarray(images, dtype=np.float32), table[:, -1].astype(np.int64))
    train, test = stratified_split(whole.labels, TEST_IMAGES, SPLIT_SEED)
    return DataSet("digits", tuple("0123456789"), whole.take(train), whole.take(test))


def _broken(file: Path) -> InputError:
    return InputError(f"{file} is broken: install it again with: pip install --force-reinstall scikit-learn")
