"""The range that loses least information: TensorRT's entropy calibration.

Szymon Migacz, 8-bit Inference with TensorRT, GTC 2017: of all ranges take the one whose integers tell the least apart
from the float values by the Kullback-Leibler divergence. This is the search of NVIDIA's pytorch-quantization
(`calib/histogram.py`, `_compute_amax_entropy`), its details included, with every divergence written in cumulative sums
instead of loops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.histogram import Histogram

Array = npt.NDArray[Any]

_BINS = 2048
_FIRST = 128
_MOST_CLIPPED = 0.05
_TIE = 1e-12


def entropy_range(histogram: Histogram, bits: int) -> float:
    """Return the range in (0, peak] with the smallest divergence, the largest of those that tie.

    The magnitudes stand in 2048 bins over [0, peak]; the first bin, where ReLU's zeros are, takes the count of the
    second. Candidates are the upper edges of the bins from the 128th on. One that clips more than 5 % of the values is
    passed over: it can only win where the values are so few that the kept ones fill a single bin, which nothing can
    tell apart. Such a tensor keeps its peak.

    The sign alone, one bit, is the same integer whatever the range: no divergence tells ranges apart, and it is the
    mean magnitude.

    Args:
        histogram: has seen a value that is not zero.
        bits: width of the integers; one sign's 2^(bits-1) levels are compared with the values.
    """
    if bits == 1:
        return histogram.mean()
    counts = histogram.rebinned(_BINS)
    counts[0] = counts[1]
    kept = np.arange(max(_FIRST, 2 ** (bits - 1)), _BINS + 1)
    if len(kept) == 0:
        return histogram.peak
    found = divergences(counts, kept, 2 ** (bits - 1))
    clipped = 1.0 - np.cumsum(counts)[kept - 1] / counts.sum()
    found[clipped > _MOST_CLIPPED] = np.inf
    best = kept[np.flatnonzero(found <= found.min() + _TIE)[-1]]
    return float(best * (histogram.peak / _BINS))


def divergences(counts: Array, kept: npt.NDArray[np.int64], levels: int) -> npt.NDArray[np.float64]:
    """Return KL(p || q) for ranges that keep the first `kept` bins.

    p is the kept bins with the count of all others added to the last; q is the kept bins merged into `levels` groups,
    each spread evenly over those of its bins that are not empty. With S and N a group's count and its bins that are
    not empty, sum p log q = sum S log(S / N), and the last bin's share once more for what was added to it.

    Args:
        counts: not negative; the last one positive.
        kept: each from `levels` to `len(counts)`.
        levels: number of groups.

    Returns:
        In nats, float64, shape of `kept`; infinite where values were added to an empty last bin, which q lacks.
    """
    total = counts.sum()
    below, filled, information = (_cumulative(terms) for terms in (counts, counts > 0, _x_log_x(counts)))
    groups = -(-kept[:, None] * np.arange(levels + 1) // levels)
    mass = np.diff(below[groups])
    log_level = np.log(np.divide(mass, np.diff(filled[groups]), out=np.ones_like(mass), where=mass > 0))
    outside = total - below[kept]
    p_log_p = information[kept - 1] + _x_log_x(counts[kept - 1] + outside)
    p_log_q = (mass * log_level).sum(axis=1) + outside * log_level[:, -1]
    inside = np.where(below[kept] > 0, below[kept], total)
    divergence = (p_log_p - p_log_q) / total + np.log(inside / total)
    return np.where((counts[kept - 1] == 0) & (outside > 0), np.inf, divergence)


def _cumulative(terms: Array) -> npt.NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(terms)])


def _x_log_x(x: Array) -> npt.NDArray[np.float64]:
    return np.asarray(x * np.log(np.where(x > 0, x, 1.0)), np.float64)
