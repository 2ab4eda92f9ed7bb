"""A bound above a percentile that holds with 99 % confidence: the early stopping of LoadGen, with d = 0, c = 0.99.

Of n queries the t slowest may be above the percentile p and yet, with t large enough for n, no more than chance: t is
the largest number with P(Binomial(n, 1 - p) <= t) <= 1 %. The t-1 slowest are dropped, and the slowest of the rest
bounds the percentile (https://github.com/mlcommons/inference_policies, "Early Stopping").
"""

from __future__ import annotations

from contracts.errors import InputError
from harness.measurement.percentiles import Times

ALLOWED = 0.01
"""How probable it may be that the bound lies below the percentile."""


def allowed_above(n: int, p: int) -> int:
    """Return t, the largest number with P(Binomial(n, 1 - p/100) <= t) <= 1 %; -1 where even t = 0 is too probable."""
    from scipy.stats import binom

    share = (100 - p) / 100
    found = int(binom.ppf(ALLOWED, n, share))  # the smallest number with at least this probability
    return found if binom.cdf(found, n, share) <= ALLOWED else found - 1


def upper_bound(sorted_values: Times, p: int) -> float | None:
    """Return the bound above a percentile, or None where so few queries bound nothing.

    Args:
        sorted_values: float64, shape (n,), ascending.
        p: in (0, 100).

    Raises:
        InputError: `p` is out of range.
    """
    if not 0 < p < 100:
        raise InputError(f"a percentile that can be bounded lies in (0, 100), got {p}")
    n = len(sorted_values)
    above = allowed_above(n, p) if n else -1
    return float(sorted_values[n - above]) if above >= 1 else None
