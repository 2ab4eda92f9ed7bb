from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import InputError, MissingDependencyError
from harness.data import digits
from harness.data.dataset import Location
from harness.data.stratified import stratified_split

sklearn_datasets = pytest.importorskip("sklearn.datasets")


def test_digits_are_those_of_scikit_learn_each_in_one_split() -> None:
    data = digits.find(Location()).read()
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.input_shape == (1, 8, 8)
    assert data.classes == 10
    original = sklearn_datasets.load_digits()
    train, test = stratified_split(original.target, digits.TEST_IMAGES, digits.SPLIT_SEED)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(1797))
    np.testing.assert_array_equal(data.test.images[:, 0] * 16, original.images[test])
    np.testing.assert_array_equal(data.train.labels, original.target[train])


def test_the_split_is_fixed_for_good() -> None:
    data = digits.find(Location()).read()
    assert np.bincount(data.test.labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    assert data.test.labels[:12].tolist() == [2, 7, 4, 2, 8, 9, 7, 2, 0, 6, 3, 2]


def test_a_machine_without_scikit_learn_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edge-robustness-harness\[train\]'"):
        digits.find(Location())


def test_a_broken_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "datasets" / "data" / "digits.csv.gz"
    file.parent.mkdir(parents=True)
    whole = digits.find(Location()).files[0].read_bytes()
    spec = importlib.util.spec_from_file_location("sklearn", tmp_path / "__init__.py")
    monkeypatch.setattr(digits, "find_spec", lambda name: spec)
    for content in (whole[: len(whole) // 2], b"", b"1,2,3\n"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"digits\.csv\.gz is broken"):
            digits.find(Location()).read()


def test_a_setting_without_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path has no effect on the data set digits"):
        digits.find(Location(path=tmp_path))
