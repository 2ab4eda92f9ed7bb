"""Range estimators: what absolute value a tensor's integers should reach, from batches seen one after another.

An observer never holds a batch. Its estimate does not depend on the order of the batches or on where they are cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from calibration.entropy import entropy_range
from calibration.histogram import Histogram, percentile_range
from calibration.magnitudes import flat, peak
from calibration.mse import mse_range
from contracts.errors import InputError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

SMALLEST_RANGE = 1e-8
"""Magnitudes up to here are nothing to any estimate, and no range is smaller."""

RANGE_OF_ZEROS = 1.0
"""The range of a tensor that is zero throughout: any is exact.

Not the smallest one: ONNX Runtime stores a bias as an int32 count of the input's scale times the weight's, and with a
scale near zero it would cut the bias off.
"""


class Observer(ABC):
    """Sees batches of one tensor and then names its range.

    Attributes:
        tensor: the tensor's name, for the sentences.
    """

    def __init__(self, tensor: str) -> None:
        self.tensor = tensor
        self._peak = 0.0

    def see(self, values: Array | Tensor) -> None:
        """Take in one batch.

        Args:
            values: a numpy array or a torch tensor on any device, of any shape and any real type; taken as float32.

        Raises:
            InputError: a value is NaN or infinite.
        """
        values = flat(values)
        largest = peak(values)
        if not largest < float("inf"):
            raise InputError(
                f"the activations of {self.tensor} are not finite: check the model and the calibration images"
            )
        self._peak = max(self._peak, largest)
        self._see(values, largest)

    def range(self) -> float:
        """Return the estimated range: positive, finite, and no more than the largest magnitude seen or 1e-8.

        It is 1 where nothing but zeros was seen.
        """
        return max(self._range(), SMALLEST_RANGE) if self._peak > 0.0 else RANGE_OF_ZEROS

    @abstractmethod
    def _see(self, values: Array | Tensor, largest: float) -> None: ...

    @abstractmethod
    def _range(self) -> float: ...


class MinMax(Observer):
    """The largest magnitude seen."""

    def _see(self, values: Array | Tensor, largest: float) -> None:
        del values, largest

    def _range(self) -> float:
        return self._peak


Estimate = Callable[[Histogram, int], float]
"""From the magnitudes, not all of them zero, and the width of the integers to a range."""


class HistogramObserver(Observer):
    """What an estimate says of the histogram of all magnitudes seen."""

    def __init__(self, tensor: str, estimate: Estimate, bits: int) -> None:
        super().__init__(tensor)
        self._estimate = estimate
        self._bits = bits
        self._histogram = Histogram()

    def _see(self, values: Array | Tensor, largest: float) -> None:
        self._histogram.add(values, largest)

    def _range(self) -> float:
        # A peak below the smallest range has no say, and its bins may all be one.
        return self._estimate(self._histogram, self._bits) if self._peak > SMALLEST_RANGE else 0.0


_ESTIMATES: dict[str, Estimate] = {"percentile": percentile_range, "entropy": entropy_range, "mse": mse_range}
CALIBRATORS: tuple[str, ...] = ("minmax", *_ESTIMATES)


def observer(calibrator: str, tensor: str, bits: int = 8) -> Observer:
    """Return a fresh observer of a tensor.

    Args:
        calibrator: one of `CALIBRATORS`.
        tensor: the tensor's name, for the sentences.
        bits: width of the signed integers that the range is for, from 1; entropy and mse depend on it.

    Raises:
        InputError: there is no such calibrator.
    """
    if calibrator == "minmax":
        return MinMax(tensor)
    if calibrator not in _ESTIMATES:
        raise unknown_name("calibrator", calibrator, CALIBRATORS)
    return HistogramObserver(tensor, _ESTIMATES[calibrator], bits)
