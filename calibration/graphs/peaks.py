"""How large the tensors of a graph become: what a half-precision type has to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError

Array = npt.NDArray[Any]


def observed_peaks(
    run: Callable[[Array], Iterator[tuple[str, Array]]], batches: Iterable[Array], tensors: Iterable[str]
) -> dict[str, float]:
    """Return the largest finite magnitude of every tensor over the batches; 0 of one that was not shown.

    An infinity counts for nothing: it is exact in every half type, and attention masks with it.

    Args:
        run: runs a batch and yields its named tensors.
        batches: images.
        tensors: names of float tensors; what else `run` yields is passed over.

    Raises:
        InputError: a value is NaN, with the tensor's name.
    """
    peaks = dict.fromkeys(tensors, 0.0)
    for batch in batches:
        for name, values in run(batch):
            if name in peaks:
                peaks[name] = max(peaks[name], _finite_peak(name, values))
    return peaks


def _finite_peak(name: str, values: Array) -> float:
    low, high = (float(end(values, initial=0.0)) for end in (np.min, np.max))
    if np.isnan(low):
        raise InputError(f"the tensor {name} becomes NaN: check the model and the calibration images")
    if np.isfinite(low) and np.isfinite(high):
        return max(-low, high)
    return float(np.max(np.abs(values), where=np.isfinite(values), initial=0.0))
