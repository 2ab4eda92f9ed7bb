"""Arrays on a GPU by their address: this project's own, for torch to read without a copy, and torch's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from engines.cuda.device import Buffer, Device


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """A C-contiguous array in a buffer of its own; `torch.as_tensor(array, device="cuda")` shares its memory.

    Whoever reads it waits for the stream that writes it first, and is done before the device closes.
    """

    buffer: Buffer
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @staticmethod
    def empty(device: Device, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceArray:
        """Allocate an array of undefined values.

        Raises:
            InputError: the array has no elements.
            DeviceMemoryError: the GPU's memory is too small.
        """
        kind = np.dtype(dtype)
        return DeviceArray(device.allocate(math.prod(shape) * kind.itemsize), tuple(shape), kind)

    @property
    def address(self) -> int:
        """Where its first element lies."""
        return self.buffer.address

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array as other libraries read it: CUDA Array Interface, version 3, as Numba's documentation has it."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
        }

    def free(self) -> None:
        """Free its buffer."""
        self.buffer.free()


class Placement(NamedTuple):
    """Where an array lies on the GPU, C-contiguous."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def address_of(array: Any) -> Placement:
    """Return where another library's array lies, a torch CUDA tensor's for example; no copy is made.

    Args:
        array: has `__cuda_array_interface__`, and outlives the use of its address.

    Raises:
        InputError: it is not on a GPU, requires gradients, is masked or is not C-contiguous.
    """
    try:
        interface = array.__cuda_array_interface__
    except (AttributeError, RuntimeError, TypeError) as error:
        kind = type(array).__name__
        raise InputError(f"this {kind} gives no address on a GPU ({error}): pass a detached CUDA tensor") from error
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    if interface.get("mask") is not None:
        raise InputError("a masked array on the GPU cannot be used: fill its gaps first")
    if not _is_contiguous(shape, interface.get("strides"), dtype.itemsize):
        raise InputError(f"the array of shape {shape} on the GPU lies scattered in memory: call its contiguous() first")
    return Placement(int(interface["data"][0]), shape, dtype)


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None, itemsize: int) -> bool:
    if strides is None or 0 in shape:
        return True
    expected = itemsize
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True
