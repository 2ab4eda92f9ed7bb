from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibration.histogram import Histogram, percentile_range
from calibration.magnitudes import count, flat, peak

pytestmark = pytest.mark.core

Array = npt.NDArray[np.float32]

VALUES = arrays(
    np.float32,
    st.integers(1, 200),
    elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-4, 4, width=32) | st.just(0.0),
)


def of(*batches: npt.NDArray[np.generic]) -> Histogram:
    made = Histogram()
    for batch in batches:
        values = flat(batch)
        made.add(values, peak(values))
    return made


@given(VALUES)
def test_a_bin_counts_the_magnitudes_between_its_edges_and_the_width_is_the_smallest(values: Array) -> None:
    made = of(values)
    magnitudes = np.abs(values.astype(np.float64))
    places = np.floor(magnitudes / made.width).astype(np.int64)
    assert np.array_equal(made.counts, np.bincount(places, minlength=Histogram.BINS))
    assert made.peak == magnitudes.max()
    assert len(made.used()) - 1 == places.max()
    assert len(made.used()) > Histogram.BINS / 2 or made.peak < 2.0**-27


@given(data=st.data(), values=VALUES)
def test_the_counts_depend_neither_on_the_order_nor_on_the_cuts(data: st.DataObject, values: Array) -> None:
    whole = of(values)
    shuffled = values[data.draw(st.permutations(range(len(values))))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))
    parts = of(*np.split(shuffled, cuts))
    assert np.array_equal(parts.counts, whole.counts)
    assert (parts.width, parts.peak) == (whole.width, whole.peak)


def test_a_batch_of_zeros_does_not_coarsen_the_bins() -> None:
    tiny = np.array([3e-7, 1e-7], np.float32)
    assert of(np.zeros(5, np.float32), tiny).width == of(tiny).width < 1e-11


def test_a_batch_of_more_values_than_are_counted_at_once_is_counted_whole_in_any_layout() -> None:
    values = np.random.default_rng(0).normal(size=(3, 500_000)).astype(np.float32)
    whole = of(values)
    assert whole.counts.sum() == values.size
    assert np.array_equal(of(values.T).counts, whole.counts)
    assert np.array_equal(of(np.repeat(values, 2, axis=0)[::2]).counts, whole.counts)


@given(VALUES.filter(lambda values: np.abs(values).max() > 1e-8), st.integers(2, 2048))
def test_rebinning_keeps_the_sum_and_moves_no_value_further_than_a_fine_bin(values: Array, bins: int) -> None:
    made = of(values)
    coarse = made.rebinned(bins)
    assert coarse.shape == (bins,)
    assert (coarse >= 0).all()
    assert coarse[-1] > 0
    assert coarse.sum() == pytest.approx(len(values))
    edges = np.arange(bins) * (made.peak / bins)
    below = np.concatenate([[0.0], np.cumsum(coarse)[:-1]])
    magnitudes = np.sort(np.abs(values.astype(np.float64)))
    assert (below >= np.searchsorted(magnitudes, edges - made.width) - 1e-6).all()
    assert (below <= np.searchsorted(magnitudes, edges + made.width) + 1e-6).all()


@pytest.mark.parametrize("largest", [1.0, 1.3, 1.999])
def test_an_even_density_stays_even_when_rebinned(largest: float) -> None:
    made = of(np.linspace(0, largest, 20 * Histogram.BINS, dtype=np.float32))
    coarse = made.rebinned(2048)
    assert coarse == pytest.approx(np.full(2048, coarse.mean()), rel=0.005)


@given(VALUES, st.sampled_from([50.0, 90.0, 99.99, 100.0]))
def test_the_percentile_is_true_up_to_a_bin_and_never_above_the_peak(values: Array, percentile: float) -> None:
    made = of(values)
    true = np.sort(np.abs(values.astype(np.float64)))[int(np.ceil(len(values) * percentile / 100)) - 1]
    found = percentile_range(made, 8, percentile)
    assert true <= found <= min(true + made.width, made.peak)


def test_nothing_has_no_peak_and_no_counts() -> None:
    nothing = flat(np.zeros((0, 3), np.float32))
    assert peak(nothing) == 0.0
    assert count(nothing, 1.0, 4).tolist() == [0, 0, 0, 0]
