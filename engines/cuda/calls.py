"""The calls on a CUDA driver that a device is made of: all that an implementation writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Handle: TypeAlias = Any
"""What an implementation knows a block of memory, a stream, an event or a graph by; nobody else looks inside."""

Bytes: TypeAlias = npt.NDArray[np.uint8]


class Calls(ABC):
    """The driver's calls, as one package spells them. Every one may raise `errors.CudaError`.

    Attributes:
        name: the package and its version, "cuda-python 13.0.1".
    """

    name: str

    @abstractmethod
    def push_context(self) -> Handle:
        """Retain the primary context of GPU 0 and make it the calling thread's current one."""

    @abstractmethod
    def pop_context(self, context: Handle) -> None:
        """Make the thread's previous context current again and release this one."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait for all work on the GPU."""

    @abstractmethod
    def memory_bytes(self) -> tuple[int, int]:
        """Return the GPU's free memory and all of it, in bytes."""

    @abstractmethod
    def allocate(self, size_bytes: int) -> Handle:
        """Allocate memory on the GPU."""

    @abstractmethod
    def address(self, block: Handle) -> int:
        """Return where a block lies."""

    @abstractmethod
    def free(self, block: Handle) -> None:
        """Free a block."""

    @abstractmethod
    def allocate_pinned(self, size_bytes: int) -> tuple[Handle, Bytes]:
        """Allocate page-locked memory on the host; the array is a view of it."""

    @abstractmethod
    def free_pinned(self, block: Handle) -> None:
        """Free page-locked memory."""

    @abstractmethod
    def create_stream(self) -> Handle:
        """Create a stream that does not wait for the default stream."""

    @abstractmethod
    def stream_handle(self, stream: Handle) -> int:
        """Return the stream as the driver knows it, a `CUstream`."""

    @abstractmethod
    def destroy_stream(self, stream: Handle) -> None:
        """Destroy a stream."""

    @abstractmethod
    def synchronize_stream(self, stream: Handle) -> None:
        """Wait for a stream's work."""

    @abstractmethod
    def copy_to_device(self, address: int, source: Bytes, stream: Handle) -> None:
        """Enqueue a copy of a contiguous array."""

    @abstractmethod
    def copy_to_host(self, target: Bytes, address: int, stream: Handle) -> None:
        """Enqueue a copy into a contiguous array."""

    @abstractmethod
    def copy_on_device(self, to_address: int, from_address: int, size_bytes: int, stream: Handle) -> None:
        """Enqueue a copy from one place on the GPU to another."""

    @abstractmethod
    def create_event(self) -> Handle:
        """Create an event that keeps the time."""

    @abstractmethod
    def destroy_event(self, event: Handle) -> None:
        """Destroy an event."""

    @abstractmethod
    def record_event(self, event: Handle, stream: Handle) -> None:
        """Enqueue the event: it happens when the stream's work before it is done."""

    @abstractmethod
    def synchronize_event(self, event: Handle) -> None:
        """Wait until an event has happened."""

    @abstractmethod
    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Return the milliseconds between two events that have happened."""

    @abstractmethod
    def begin_capture(self, stream: Handle) -> None:
        """Record the stream's work from now on, in the thread-local mode."""

    @abstractmethod
    def end_capture(self, stream: Handle) -> Handle:
        """End a capture and return what was recorded, a graph."""

    @abstractmethod
    def instantiate(self, graph: Handle) -> Handle:
        """Make a graph executable."""

    @abstractmethod
    def launch(self, executable: Handle, stream: Handle) -> None:
        """Enqueue an executable graph."""

    @abstractmethod
    def destroy_graph(self, graph: Handle) -> None:
        """Destroy what was recorded."""

    @abstractmethod
    def destroy_executable(self, executable: Handle) -> None:
        """Destroy an executable graph."""
