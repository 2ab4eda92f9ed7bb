from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.data.calibration_part import calibration_indices

pytestmark = pytest.mark.core


@given(st.lists(st.integers(0, 5), min_size=1, max_size=120), st.data(), st.integers(0, 2**32 - 1))
def test_a_draw_is_sorted_distinct_in_range_and_even(numbers: list[int], data: st.DataObject, seed: int) -> None:
    labels = np.array(numbers, dtype=np.int64)
    count = data.draw(st.integers(1, len(labels)))
    drawn = calibration_indices(labels, count, seed)
    assert drawn.dtype == np.int64
    assert drawn.shape == (count,)
    assert np.all(np.diff(drawn) > 0)
    assert 0 <= drawn[0] <= drawn[-1] < len(labels)
    given_images, sizes = np.bincount(labels[drawn], minlength=6), np.bincount(labels, minlength=6)
    with_more = given_images[given_images < sizes]
    assert np.all(with_more >= given_images.max() - 1)
    np.testing.assert_array_equal(drawn, calibration_indices(labels, count, seed))


def test_the_seed_decides_and_the_draw_is_fixed_for_good() -> None:
    labels = np.arange(1000, dtype=np.int64) % 10
    drawn = calibration_indices(labels, 20, seed=0)
    assert drawn.tolist() != calibration_indices(labels, 20, seed=1).tolist()
    assert drawn.tolist() == [
        20,
        33,
        102,
        150,
        188,
        227,
        298,
        424,
        496,
        549,
        561,
        775,
        842,
        849,
        891,
        936,
        937,
        964,
        965,
        983,
    ]


@pytest.mark.parametrize("count", [0, -1, 11])
def test_a_count_beyond_the_split_is_refused(count: int) -> None:
    with pytest.raises(InputError, match="the 10 of the training split: ask for 1 to 10"):
        calibration_indices(np.zeros(10, dtype=np.int64), count, seed=0)
