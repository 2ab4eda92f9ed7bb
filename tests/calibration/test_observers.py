from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibration.observers import CALIBRATORS, RANGE_OF_ZEROS, SMALLEST_RANGE, Observer, observer
from contracts.errors import InputError

pytestmark = pytest.mark.core

Array = npt.NDArray[np.float32]

VALUES = arrays(
    np.float32,
    st.integers(1, 200),
    elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-4, 4, width=32) | st.just(0.0),
)
EVERY = pytest.mark.parametrize("calibrator", CALIBRATORS)


def fed(calibrator: str, *batches: npt.NDArray[Any]) -> Observer:
    made = observer(calibrator, "relu")
    for batch in batches:
        made.see(batch)
    return made


@EVERY
@given(data=st.data(), values=VALUES)
def test_the_range_depends_neither_on_the_order_nor_on_the_cuts(
    calibrator: str, data: st.DataObject, values: Array
) -> None:
    whole = fed(calibrator, values).range()
    shuffled = values[data.draw(st.permutations(range(len(values))))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))
    assert fed(calibrator, *np.split(shuffled, cuts)).range() == whole


@EVERY
@given(values=VALUES)
def test_the_range_is_positive_and_finite(calibrator: str, values: Array) -> None:
    assert 0 < fed(calibrator, values).range() < np.inf


@EVERY
def test_nothing_but_zeros_and_nothing_at_all_have_a_range_that_a_bias_can_be_counted_in(calibrator: str) -> None:
    assert fed(calibrator, np.zeros((2, 3), np.float32)).range() == RANGE_OF_ZEROS
    assert fed(calibrator).range() == RANGE_OF_ZEROS


@EVERY
def test_what_is_tiny_and_not_zero_keeps_a_tiny_range(calibrator: str) -> None:
    assert fed(calibrator, np.zeros(3), np.array([1e-30], np.float32)).range() == SMALLEST_RANGE


@given(VALUES)
def test_minmax_is_the_largest_magnitude(values: Array) -> None:
    peak = float(np.abs(values).max())
    assert fed("minmax", values).range() == (max(peak, SMALLEST_RANGE) if peak else RANGE_OF_ZEROS)


@EVERY
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
@given(values=VALUES)
def test_the_range_is_never_beyond_the_largest_magnitude(calibrator: str, bits: int, values: Array) -> None:
    made = observer(calibrator, "relu", bits)
    made.see(values)
    assert 0 < made.range() <= fed("minmax", values).range()


def test_the_percentile_leaves_rare_outliers_out_and_minmax_does_not() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 99_999).astype(np.float32)
    outlier = np.array([50.0], np.float32)
    assert fed("percentile", values, outlier).range() == pytest.approx(1.0, abs=50 / 2048)
    assert fed("minmax", values, outlier).range() == 50.0


@EVERY
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_the_tensor_s_name(calibrator: str, value: float) -> None:
    with pytest.raises(InputError, match="activations of relu are not finite"):
        fed(calibrator, np.array([1.0, value], np.float32))


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64])
def test_other_number_types_are_seen_alike(kind: type[np.generic]) -> None:
    assert fed("minmax", np.array([[-3, 2]], kind)).range() == 3.0


def test_an_unknown_calibrator_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'percentile'"):
        observer("percentil", "x")
