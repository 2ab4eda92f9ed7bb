"""A histogram of magnitudes that grows with what it sees, and the percentile read from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from calibration.magnitudes import count

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

_SMALLEST_PEAK = 2.0**-28
"""Bins are no finer than for this peak: less is nothing to any range."""


class Histogram:
    """Counts of magnitudes in 65536 bins of equal width from zero on, more than half of them in use.

    The width is the smallest power of two with which the peak still has a bin. When a batch brings a larger peak,
    neighbouring bins are merged. As `floor(x / w)` nests, the counts are those of the final width whatever the order
    of the batches was and wherever they were cut.

    Attributes:
        counts: int64, shape (65536,).
        width: of a bin; bin k counts the magnitudes in [k * width, (k + 1) * width).
        peak: the largest magnitude seen.
    """

    BINS = 65536

    def __init__(self) -> None:
        self.counts = np.zeros(self.BINS, np.int64)
        self.width = self._width_for(0.0)
        self.peak = 0.0

    def add(self, values: Array | Tensor, peak: float) -> None:
        """Count a batch.

        Args:
            values: float32 with one dimension, as `magnitudes.flat` makes them.
            peak: their largest magnitude, finite.
        """
        self._widen(self._width_for(peak))
        self.peak = max(self.peak, peak)
        self.counts += count(values, self.width, self.BINS)

    def _width_for(self, peak: float) -> float:
        return math.ldexp(1.0, math.frexp(max(peak, _SMALLEST_PEAK))[1]) / self.BINS

    def _widen(self, width: float) -> None:
        if width <= self.width:
            return
        merged = self.counts.reshape(-1, int(min(width / self.width, self.BINS))).sum(axis=1)
        self.counts = np.concatenate([merged, np.zeros(self.BINS - len(merged), np.int64)])
        self.width = width

    def used(self) -> npt.NDArray[np.int64]:
        """Return the counts up to the peak's bin, which is the last."""
        return self.counts[: int(self.peak / self.width) + 1]

    def mean(self) -> float:
        """Return the mean magnitude; not where nothing was seen.

        It is the scale with which the sign loses least: T minimises the sum of (|x| - T)^2 (Rastegari et al. 2016,
        XNOR-Net, arXiv 1603.05279). Values count as the middle of their bins, those of the first as zero.
        """
        used = self.used()
        middle = np.arange(len(used)) + 0.5
        middle[0] = 0.0
        return min(float(used @ middle) / int(used.sum()) * self.width, self.peak)

    def rebinned(self, bins: int) -> npt.NDArray[np.float64]:
        """Return the counts in so many bins of equal width over [0, peak], the peak in the last; not for a zero peak.

        A bin that an edge cuts is split as if its values were spread evenly over it. At least 16 of them go into each
        of 2048, so that the counts of a smooth density do not alternate.
        """
        used = self.used()
        edges = np.arange(len(used) + 1) * self.width
        below = np.concatenate([[0.0], np.cumsum(used)])
        at_edges = np.interp(np.arange(bins + 1) * (self.peak / bins), edges, below)
        at_edges[-1] = below[-1]  # the peak's own bin is not cut
        return np.diff(np.maximum.accumulate(at_edges))


def percentile_range(histogram: Histogram, bits: int, percentile: float = 99.99) -> float:
    """Return the magnitude that a given percentage of the values does not exceed, rounded up by less than a bin."""
    del bits
    below = np.cumsum(histogram.used())
    last = int(np.searchsorted(below, math.ceil(int(below[-1]) * percentile / 100.0)))
    return min((last + 1) * histogram.width, histogram.peak)
