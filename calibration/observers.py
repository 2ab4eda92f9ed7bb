"""Range estimators: what absolute value a tensor's integers should reach, from batches seen one after another.

An observer never holds a batch. Its estimate does not depend on the order of the batches or on where they are cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError, unknown_name

Array = npt.NDArray[Any]

SMALLEST_RANGE = 1e-8
"""A tensor that is zero throughout still needs a positive scale."""


class Observer(ABC):
    """Sees batches of one tensor and then names its range.

    Attributes:
        tensor: the tensor's name, for the sentences.
    """

    tensor = "a tensor"

    def see(self, values: Array) -> None:
        """Take in one batch of values of any shape.

        Raises:
            InputError: a value is NaN or infinite.
        """
        magnitudes = np.abs(values, dtype=np.float32).ravel()
        if not np.isfinite(peak := float(magnitudes.max(initial=0.0))):
            raise InputError(
                f"the activations of {self.tensor} are not finite: check the model and the calibration images"
            )
        self._see(magnitudes, peak)

    def range(self) -> float:
        """Return the estimated largest magnitude, positive and finite."""
        return max(self._range(), SMALLEST_RANGE)

    @abstractmethod
    def _see(self, magnitudes: Array, peak: float) -> None: ...

    @abstractmethod
    def _range(self) -> float: ...


class MinMax(Observer):
    """The largest magnitude seen."""

    def __init__(self) -> None:
        self._peak = 0.0

    def _see(self, magnitudes: Array, peak: float) -> None:
        del magnitudes
        self._peak = max(self._peak, peak)

    def _range(self) -> float:
        return self._peak


class Percentile(Observer):
    """The magnitude that a given percentage of the values does not exceed, from a histogram.

    The bins' width is a power of two times `_FIRST_WIDTH`; when a value lies beyond the last bin, pairs of bins are
    merged and the width doubles. The counts are therefore those of the final width whatever the batches were.
    """

    _BINS = 4096
    _FIRST_WIDTH = 2.0**-40

    def __init__(self, percentile: float = 99.99) -> None:
        self._percentile = percentile
        self._width = self._FIRST_WIDTH
        self._counts = np.zeros(self._BINS, np.int64)

    def _see(self, magnitudes: Array, peak: float) -> None:
        while peak >= self._width * self._BINS:
            merged = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.concatenate([merged, np.zeros_like(merged)])
            self._width *= 2.0
        bins = (magnitudes * np.float32(1.0 / self._width)).astype(np.int64)
        self._counts += np.bincount(np.minimum(bins, self._BINS - 1), minlength=self._BINS)

    def _range(self) -> float:
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        wanted = np.ceil(total * self._percentile / 100.0)
        last = int(np.searchsorted(np.cumsum(self._counts), wanted))
        return float((last + 1) * self._width)


_OBSERVERS: dict[str, type[Observer]] = {"minmax": MinMax, "percentile": Percentile}
CALIBRATORS: tuple[str, ...] = tuple(_OBSERVERS)


def observer(calibrator: str, tensor: str) -> Observer:
    """Return a fresh observer of a tensor.

    Args:
        calibrator: one of `CALIBRATORS`.
        tensor: the tensor's name, for the sentences.

    Raises:
        InputError: there is none.
    """
    if calibrator not in _OBSERVERS:
        raise unknown_name("calibrator", calibrator, CALIBRATORS)
    made = _OBSERVERS[calibrator]()
    made.tensor = tensor
    return made
