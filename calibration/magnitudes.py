"""The peak and the counts of a batch's magnitudes, taken where the batch lies: numpy or torch, on the CPU or the GPU.

torch is never imported here: a tensor can only come from someone who has.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]

_CHUNK = 2**19  # values: the indices of so many stay in the processor's cache between writing and counting


def flat(values: Array | Tensor) -> Array | Tensor:
    """Return the values as float32 in one dimension, in whatever order costs least.

    A tensor on the CPU becomes an array; one on a GPU stays there. Nothing is copied that is float32 and dense.
    """
    if _is_tensor(values):
        if values.device.type != "cpu":
            return values.detach().reshape(-1).float()
        values = values.detach().float().numpy()
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and that is refused by name
        return np.asarray(values, np.float32).ravel(order="K")


def peak(values: Array | Tensor) -> float:
    """Return the largest magnitude of flat values: 0.0 of none, NaN where one is NaN."""
    if _is_tensor(values):
        import torch

        return float(torch.stack(torch.aminmax(values)).abs().max()) if len(values) else 0.0
    return max(float(np.max(values, initial=0.0)), -float(np.min(values, initial=0.0)))


def count(values: Array | Tensor, width: float, bins: int) -> Counts:
    """Count flat values by `floor(|x| / width)`.

    Args:
        values: float32, one dimension; every magnitude below `bins * width`.
        width: a power of two, so that the division is exact.
        bins: how many.

    Returns:
        shape (bins,). Of a tensor on a GPU nothing else comes to the host.
    """
    if _is_tensor(values):
        import torch

        # Not histc: its bins are not exact.
        counted = torch.bincount((values * (1.0 / width)).int().abs_(), minlength=bins)
        return np.asarray(counted.cpu().numpy(), np.int64)
    counts = np.zeros(bins, np.int64)
    index = np.empty(min(len(values), _CHUNK), np.int32)
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        places = np.multiply(chunk, np.float32(1.0 / width), out=index[: len(chunk)], casting="unsafe")
        counts += np.bincount(np.abs(places, out=places), minlength=bins)
    return counts


def _is_tensor(values: Array | Tensor) -> TypeGuard[Tensor]:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)
