"""The GPU as a context manager: what it hands out lives no longer than the with-statement."""

from __future__ import annotations

import atexit
import math
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import HarnessError, InputError
from engines.cuda.calls import Calls, Handle
from engines.cuda.errors import DeviceMemoryError
from engines.cuda.owned import Alive, Owned
from engines.cuda.stream import Event, Stream


class Buffer(Owned):
    """A block of the GPU's memory."""

    kind = "buffer"

    def __init__(self, calls: Calls, handle: Handle, alive: Alive, size_bytes: int) -> None:
        super().__init__(calls, handle, alive)
        self.size_bytes = size_bytes

    @property
    def address(self) -> int:
        """Where it lies, a `CUdeviceptr`."""
        return self._calls.address(self._living())

    def free(self) -> None:
        """Free it; a second call does nothing."""
        self.close()

    def _destroy(self, handle: Handle) -> None:
        self._calls.free(handle)


class _PinnedMemory(Owned):
    kind = "page-locked memory"

    def _destroy(self, handle: Handle) -> None:
        self._calls.free_pinned(handle)


class Device:
    """GPU 0, through its primary context, which is torch's too: memory of either is memory to the other.

    The with-statement makes the context the calling thread's current one, so TensorRT and this device are used in that
    thread. Devices that are open at the same time are closed in the reverse order of opening.

    Attributes:
        implementation: the package and its version, "cuda-python 13.0.1".
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._context: Handle = None
        self._alive: Alive = {}
        self.implementation = calls.name

    def __enter__(self) -> Device:
        if self._context is not None:
            raise InputError("the CUDA device is open already: open another one")
        self._context = self._calls.push_context()
        atexit.register(self.__exit__, None, None, None)  # pycuda aborts a process that ends with a context current
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        atexit.unregister(self.__exit__)
        failures: list[HarnessError] = []
        while self._alive:
            try:
                next(reversed(self._alive.values())).close()
            except HarnessError as failed:
                failures.append(failed)
        context, self._context = self._context, None
        try:
            self._calls.pop_context(context)
        except HarnessError as failed:
            failures.append(failed)
        if failures and error is None:
            raise failures[0]

    def allocate(self, size_bytes: int) -> Buffer:
        """Allocate memory on the GPU; its contents are undefined.

        Raises:
            InputError: `size_bytes` is below 1.
            DeviceMemoryError: so much is not free in one piece.
        """
        calls = self._open()
        if size_bytes < 1:
            raise InputError(f"a buffer on the GPU has at least 1 byte, got {size_bytes}")
        try:
            return Buffer(calls, calls.allocate(size_bytes), self._alive, size_bytes)
        except DeviceMemoryError as error:
            free, total = calls.memory_bytes()
            raise DeviceMemoryError(
                f"{_size(size_bytes)} of GPU memory were asked for and {_size(free)} of {_size(total)} are free: "
                "take a smaller batch or a smaller workspace, or end other programs on the GPU"
            ) from error

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array in page-locked host memory, whose copies run beside other work.

        The memory is freed when the device closes: the array and its views must not be touched after that.

        Raises:
            InputError: the array has no elements.
            DeviceMemoryError: the host has too little page-locked memory.
        """
        calls, kind = self._open(), np.dtype(dtype)
        size_bytes = math.prod(shape) * kind.itemsize
        if size_bytes < 1:
            raise InputError(f"a page-locked array has at least 1 element, got shape {shape}")
        try:
            handle, memory = calls.allocate_pinned(size_bytes)
        except DeviceMemoryError as error:
            message = f"the host cannot lock {_size(size_bytes)} of its memory for the GPU: take a smaller batch"
            raise DeviceMemoryError(message) from error
        _PinnedMemory(calls, handle, self._alive)
        return memory.view(kind).reshape(shape)

    def stream(self) -> Stream:
        """Return a new stream."""
        calls = self._open()
        return Stream(calls, calls.create_stream(), self._alive)

    def event(self) -> Event:
        """Return a new event."""
        calls = self._open()
        return Event(calls, calls.create_event(), self._alive)

    def free_memory_bytes(self) -> tuple[int, int]:
        """Return how much of the GPU's memory is free, and how much it has, in bytes."""
        return self._open().memory_bytes()

    def synchronize(self) -> None:
        """Wait until all work on the GPU is done."""
        self._open().synchronize()

    def _open(self) -> Calls:
        if self._context is None:
            raise InputError("the CUDA device is not open: use it in a with-statement")
        return self._calls


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
