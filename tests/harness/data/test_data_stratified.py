from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.data.stratified import stratified_split

pytestmark = pytest.mark.core

sizes = st.lists(st.integers(0, 40), min_size=1, max_size=8)


@given(sizes, st.data(), st.integers(0, 2**32 - 1))
def test_parts_cover_all_images_once_and_keep_a_training_image_of_each_class(
    sizes: list[int], data: st.DataObject, seed: int
) -> None:
    labels = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int64)
    most = sum(max(size - 1, 0) for size in sizes)
    if most == 0:
        with pytest.raises(InputError, match="too few"):
            stratified_split(labels, 1, seed)
        return
    test_count = data.draw(st.integers(1, most))
    train, test = stratified_split(labels, test_count, seed)
    assert len(test) == test_count
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    assert set(labels[train]) == set(labels)


@given(st.lists(st.integers(5, 60), min_size=1, max_size=8), st.integers(0, 1000))
def test_each_class_gives_its_share_to_within_one(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    test_count = len(labels) // 5
    _, test = stratified_split(labels, test_count, seed)
    given_images = np.bincount(labels[test], minlength=len(sizes))
    assert np.all(np.abs(given_images - np.array(sizes) * test_count / len(labels)) < 1)


def test_the_seed_decides() -> None:
    labels = np.repeat(np.arange(4), 50).astype(np.int64)
    first, again, other = (stratified_split(labels, 40, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()
