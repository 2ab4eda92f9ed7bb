"""Percentiles of query times, and how many queries it takes before one may be stated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError

Times = npt.NDArray[np.float64]

MINIMUM_QUERIES = {50: 11, 90: 64, 95: 130, 99: 662}
"""How many queries carry a percentile.

It is the rule of MLPerf LoadGen's early stopping with d = 0 and c = 0.99, see `early_stopping`: the smallest n with
P(Binomial(n, 1 - p) <= 1) <= 1 %, at which the slowest of n queries bounds the percentile p.
"""


def percentile(sorted_values: Times, p: float) -> float:
    """Return a percentile by trtexec's rule: one of the values themselves, never an interpolation.

    It is the value at index `max(N - 1 - int((1 - p / 100) * N), 0)`, computed as `N * (100 - p) / 100`, which is exact
    for a whole `p`.

    Args:
        sorted_values: float64, shape (N,), ascending, N >= 1.
        p: in [0, 100].

    Raises:
        InputError: there is no value, or `p` is out of range.
    """
    count = len(sorted_values)
    if count == 0 or not 0 <= p <= 100:
        raise InputError(f"a percentile needs at least one value and p in [0, 100], got {count} values and p = {p}")
    return float(sorted_values[max(count - 1 - int(count * (100 - p) / 100), 0)])


def carried_percentile(sorted_values: Times, p: int) -> float | None:
    """Return the percentile, or None where so few queries do not carry it; `p` is a key of `MINIMUM_QUERIES`."""
    return percentile(sorted_values, p) if len(sorted_values) >= MINIMUM_QUERIES[p] else None
