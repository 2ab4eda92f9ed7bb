"""How sure one can be of a share of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Share:
    """A share of n images.

    Attributes:
        value: fraction in [0, 1].
        n: number of images.
        ci95: its 95 % Wilson score interval.
    """

    value: float
    n: int
    ci95: tuple[float, float]


def share(mask: npt.NDArray[np.bool_]) -> Share:
    """Return the share of true values in a mask of at least one image."""
    from scipy.stats import binomtest

    found, n = int(mask.sum()), len(mask)
    interval = binomtest(found, n).proportion_ci(0.95, method="wilson")
    return Share(found / n, n, (float(interval.low), float(interval.high)))
