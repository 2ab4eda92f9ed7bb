"""The 95 % Wilson interval, for a share of images whose interval the document leaves to its reader."""

from __future__ import annotations

import math

from reports.document import Rate

_Z95 = 1.959963984540054


def wilson95(value: float, n: int) -> Rate:
    """Return a share of `n` images with its 95 % Wilson interval; of no image at all the interval is [0, 1]."""
    if n == 0:
        return Rate(value=value, n=0, ci95=(0.0, 1.0))
    widening = _Z95**2 / n
    centre = (value + widening / 2) / (1 + widening)
    half = _Z95 / (1 + widening) * math.sqrt(value * (1 - value) / n + widening / (4 * n))
    return Rate(value=value, n=n, ci95=(max(0.0, centre - half), min(1.0, centre + half)))
