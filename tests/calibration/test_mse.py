from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from calibration.mse import squared_errors
from calibration.observers import observer

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]

RANDOM = np.random.default_rng(11)
SIZE = 20_000
SAMPLES: dict[str, Array] = {
    "normal": RANDOM.normal(size=SIZE),
    "relu": np.maximum(RANDOM.normal(size=SIZE), 0.0),
    "laplace": RANDOM.laplace(size=SIZE),
    "uniform": RANDOM.uniform(-2, 2, SIZE),
    "student": RANDOM.standard_t(3, SIZE),
    "bimodal": np.concatenate([RANDOM.normal(0.2, 0.1, SIZE), RANDOM.normal(4.0, 0.3, SIZE // 10)]),
    "mostly tiny": np.concatenate([RANDOM.normal(0.0, 1e-3, SIZE), RANDOM.normal(0.0, 1.0, SIZE // 100)]),
}


def quantization_error(values: Array, reach: float, bits: int) -> float:
    """The mean squared error of real rounding to the symmetric grid that ends at `reach`."""
    levels = max(2 ** (bits - 1) - 1, 1)
    step = reach / levels
    quantized = np.clip(np.round(values / step), -levels, levels) * step
    return float(np.mean((quantized - values) ** 2))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(("bits", "excess"), [(8, 1.02), (6, 1.02), (4, 1.05), (3, 1.3)])
def test_no_range_quantizes_much_better(name: str, bits: int, excess: float) -> None:
    values = SAMPLES[name].astype(np.float32).astype(np.float64)
    made = observer("mse", name, bits)
    made.see(values)
    peak = np.abs(values).max()
    best = min(quantization_error(values, reach, bits) for reach in np.geomspace(peak / 200, peak, 400))
    assert quantization_error(values, made.range(), bits) <= excess * best


@pytest.mark.parametrize("levels", [1, 7, 127])
def test_the_errors_are_the_sums_over_the_values(levels: int) -> None:
    counts = RANDOM.integers(0, 5, 300)
    middle = np.arange(300) + 0.5
    middle[0] = 0.0
    found = squared_errors(counts, levels)
    for reach in [2 * levels, 150, 300]:
        step = reach / levels
        small = middle < step / 2
        large = middle > reach
        parts = (
            (counts * middle**2)[small].sum(),
            step**2 / 12 * counts[~small & ~large].sum(),
            (counts * (middle - reach) ** 2)[large].sum(),
        )
        exact = (step / 2).is_integer()  # else the bin in which rounding to zero ends is split evenly
        assert found[reach - 1] == pytest.approx(sum(parts), rel=1e-9 if exact else 0.05)


@pytest.mark.parametrize("calibrator", ["mse", "entropy"])
@pytest.mark.parametrize("name", SAMPLES)
def test_one_bit_is_the_sign_times_the_mean_magnitude_which_loses_least(calibrator: str, name: str) -> None:
    values = SAMPLES[name].astype(np.float32)
    made = observer(calibrator, name, 1)
    made.see(values)
    magnitudes = np.abs(values).astype(np.float64)
    assert made.range() == pytest.approx(magnitudes.mean(), rel=1e-3)
    lost = [np.mean((magnitudes - reach) ** 2) for reach in (0.9 * made.range(), made.range(), 1.1 * made.range())]
    assert min(lost) == lost[1]


@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("value", [1.1e-8, 0.7, 1.0, 3e38])
def test_a_tensor_that_is_constant_where_it_is_not_zero_keeps_its_value(bits: int, value: float) -> None:
    made = observer("mse", "relu", bits)
    made.see(np.array([0.0, value, value], np.float32))
    peak = float(np.float32(value))
    assert peak * 0.9999 <= made.range() <= peak


def test_fewer_bits_clip_more() -> None:
    ranges = []
    for bits in [3, 4, 6, 8, 12]:
        made = observer("mse", "relu", bits)
        made.see(SAMPLES["normal"])
        ranges.append(made.range())
    assert ranges == sorted(ranges)
    assert ranges[0] < 0.7 * ranges[-1]
