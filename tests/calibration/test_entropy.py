from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import entropy

from calibration.entropy import divergences, entropy_range
from calibration.histogram import Histogram
from calibration.observers import observer

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]

RANDOM = np.random.default_rng(7)
SIZE = 100_000
SMOOTH: dict[str, Array] = {
    "half-normal": np.abs(RANDOM.normal(size=SIZE)),
    "relu": np.maximum(RANDOM.normal(size=SIZE), 0.0),
    "exponential": RANDOM.exponential(size=SIZE),
    "uniform": RANDOM.uniform(0, 3, SIZE),
    "student": RANDOM.standard_t(3, SIZE),
}
ODD: dict[str, Array] = {
    "bimodal": np.concatenate([RANDOM.normal(1.0, 0.1, SIZE), RANDOM.normal(4.0, 0.3, SIZE // 10)]),
    "four values": RANDOM.choice([0.5, 1.0, 3.0, 7.7], SIZE, p=[0.6, 0.3, 0.09, 0.01]),
    "fifty samples": RANDOM.exponential(size=50),
    "outliers": np.concatenate([RANDOM.uniform(0, 0.01, SIZE), RANDOM.uniform(0, 1, 20)]),
}
EVERY = {**SMOOTH, **ODD}


def histogram_of(values: Array) -> Histogram:
    made = Histogram()
    values = values.astype(np.float32).ravel()
    made.add(values, float(np.abs(values).max()))
    return made


def slow_divergence(bins: Array, kept: int, levels: int) -> float:
    """The loop over candidates of pytorch-quantization's `_compute_amax_entropy`, for one candidate."""
    level_of = np.digitize(range(kept), np.linspace(0, kept, levels + 1)) - 1
    level_of[bins[:kept] == 0] = -1
    density = np.zeros(levels)
    for place, level in enumerate(level_of):
        if level != -1:
            density[level] += bins[place]
    for level, members in Counter(level_of.tolist()).items():
        if level != -1:
            density[level] /= members
    q = np.zeros(kept)
    for place, level in enumerate(level_of):
        if level != -1:
            q[place] = density[level]
    p = np.array(bins[:kept], np.float64)
    p[-1] += np.sum(bins[kept:])
    return float(entropy(p, q)) if q.any() else float("inf")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("levels", [8, 128])
def test_the_divergences_are_those_of_the_loops(name: str, levels: int) -> None:
    counts = histogram_of(EVERY[name]).rebinned(2048)
    counts[0] = counts[1]
    kept = np.array([*range(128, 2048, 83), 2047, 2048])
    slow = np.array([slow_divergence(counts, int(candidate), levels) for candidate in kept])
    assert divergences(counts, kept, levels) == pytest.approx(slow, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_range_is_the_upper_edge_of_the_last_bin_of_the_smallest_slow_divergence(name: str) -> None:
    made = histogram_of(SMOOTH[name])
    counts = made.rebinned(2048)
    counts[0] = counts[1]
    best = round(entropy_range(made, 8) / made.peak * 2048)
    # Every candidate takes the loops seconds: those around the answer and some everywhere must do.
    near = range(max(best - 30, 128), min(best + 30, 2048) + 1)
    candidates = sorted({best, *near, *range(128, 2049, 29), 2048})
    slow = [slow_divergence(counts, candidate, 128) for candidate in candidates]
    last = len(slow) - 1 - int(np.argmin(slow[::-1]))
    assert candidates[last] == best
    assert entropy_range(made, 8) == best * (made.peak / 2048)


def test_zeros_do_not_change_the_range() -> None:
    positive = np.abs(RANDOM.normal(size=SIZE))
    with_zeros = np.concatenate([positive, np.zeros(10 * SIZE)])
    assert entropy_range(histogram_of(with_zeros), 8) == entropy_range(histogram_of(positive), 8)


def test_far_outliers_are_clipped() -> None:
    made = histogram_of(np.concatenate([RANDOM.normal(size=SIZE), [60.0]]))
    assert entropy_range(made, 8) < 6.0


@pytest.mark.parametrize(
    "values",
    [
        np.full(1000, 0.7),
        np.repeat([0.0, 0.7], 500),
        np.repeat([0.5, 1.0, 2.0], [900, 50, 50]),
        np.repeat([1.0, 2.0], [961, 39]),
        np.repeat([0.7, 1.9, 2.3, 3.1], [9001, 501, 31, 17]),
        np.arange(1, 6),
        np.array([1e-3] * 80 + [1.0] * 20),
        np.array([3e38]),
        np.array([1.1e-8]),
    ],
    ids=str,
)
def test_a_tensor_of_few_values_keeps_its_peak(values: Array) -> None:
    assert entropy_range(histogram_of(values), 8) == np.float32(values.max())


def test_where_the_lowest_values_fill_a_bin_alone_the_others_are_not_clipped() -> None:
    """With all others clipped into that bin p and q are one bin each, and the loops find nothing wrong with it."""
    made = histogram_of(ODD["bimodal"])
    counts = made.rebinned(2048)
    alone = int(np.flatnonzero(counts)[0]) + 1
    assert slow_divergence(counts, alone, 128) == 0.0
    assert entropy_range(made, 8) > 4.0


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 11, 16])
def test_every_width_has_a_positive_range_up_to_the_peak(name: str, bits: int) -> None:
    peak = float(np.abs(EVERY[name].astype(np.float32)).max())
    made = observer("entropy", name, bits)
    made.see(EVERY[name])
    assert 0 < made.range() <= peak
    if bits == 16:
        assert made.range() == peak
