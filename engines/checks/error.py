"""How far values are from what they should be, in a measure that knows no scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = 1e6
"""What stands for values that are not finite, or that differ where the reference is zero: JSON has no infinity."""

_FLOOR = 0.1  # of the magnitude: roundings are relative to it, however little the images differ

Values = npt.NDArray[Any]


def spread(reference: Values) -> float:
    """Return how far the images' values lie from the mean image's: the root of the mean squared distance.

    It is at least a tenth of the values' own magnitude, so that a network that hardly tells the images apart (one that
    was never trained) is not held to fractions of a rounding.

    Args:
        reference: finite, shape (images, …).
    """
    rows = _rows(reference)
    return max(_magnitude(rows - rows.mean(axis=0)), _FLOOR * _magnitude(rows))


def relative_error(given: Values, reference: Values) -> float:
    """Return the root of the mean squared distance of the images' values, over the reference's `spread`.

    It is one over the root of the signal-to-quantization-noise ratio, the signal being what tells images apart. 0 is
    equal, about 1.4 is as if the scores belonged to other images.

    Args:
        given: shape (images, …).
        reference: of the same shape, finite.

    Returns:
        A finite number, `LARGEST` at most.
    """
    if not np.isfinite(given).all():
        return LARGEST
    distance = _magnitude(_rows(given) - _rows(reference))
    if distance == 0:
        return 0.0
    yardstick = spread(reference)
    return min(distance / yardstick, LARGEST) if yardstick > 0 else LARGEST


def _rows(values: Values) -> npt.NDArray[np.float64]:
    return np.asarray(values, np.float64).reshape(len(values), -1)


def _magnitude(rows: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.sum(rows**2, axis=1))))
