"""The range that minimises the expected squared error of quantization.

The objective is that of OCTAV (Sakr et al. 2022, Optimal Clipping and Magnitude-aware Differentiation for Improved
Quantization-aware Training, arXiv 2206.06501), which finds its minimum by Newton steps on the values. On a histogram
cumulative sums give it for every bin edge at once, so that the minimum is the global one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.histogram import Histogram

Array = npt.NDArray[Any]


def mse_range(histogram: Histogram, bits: int) -> float:
    """Return the edge of a bin with the smallest expected squared error, at most the peak.

    One bit is the sign times the range, without a zero: the range is then the mean magnitude.

    Args:
        histogram: has seen a value that is not zero.
        bits: width of the integers; from 2 on the range is 2^(bits-1) - 1 steps long.
    """
    if bits == 1:
        return histogram.mean()
    errors = squared_errors(histogram.used(), 2 ** (bits - 1) - 1)
    return min(float(np.argmin(errors) + 1) * histogram.width, histogram.peak)


def squared_errors(counts: Array, levels: int) -> npt.NDArray[np.float64]:
    """Return the expected sum of squared errors of a range at every bin's upper edge, in squared bin widths.

    With the range T and the step D = T / levels it is

        sum of x^2 over x <= D / 2  +  D^2 / 12 * N(D / 2 < x <= T)  +  sum of (x - T)^2 over x > T:

    what becomes zero, what is rounded, what is clipped. OCTAV counts the first kind with the second, which is the same
    for a density that is flat around zero and too much where most values are far smaller than a step. Values stand in
    the middle of their bins, those of the first at zero.

    Args:
        counts: of the bins [k, k + 1), shape (bins,).
        levels: steps from zero to the range.

    Returns:
        float64, shape (bins,); entry k is for the range k + 1.
    """
    middle = np.arange(len(counts)) + 0.5
    middle[0] = 0.0
    count, total, squares = (_cumulative(counts * middle**power) for power in range(3))
    reach = np.arange(1, len(counts) + 1)
    step = reach / levels
    edges = np.arange(len(counts) + 1)
    zeroed, vanished = (np.interp(step / 2, edges, sums) for sums in (count, squares))
    rounded = (count[1:] - zeroed) * step**2 / 12
    beyond, total_beyond, squares_beyond = (sums[-1] - sums[1:] for sums in (count, total, squares))
    return np.asarray(vanished + rounded + squares_beyond - 2 * reach * total_beyond + reach**2 * beyond, np.float64)


def _cumulative(terms: Array) -> npt.NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(terms)])
