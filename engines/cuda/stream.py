"""Work on a GPU in order: streams, the events that time them, and graphs of recorded work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import HarnessError, InputError
from engines.cuda.calls import Bytes, Handle
from engines.cuda.owned import Owned


class Event(Owned):
    """A moment in a stream's work; `Stream.record` sets it."""

    kind = "event"

    def elapsed_ms_since(self, earlier: Event) -> float:
        """Return the milliseconds from an earlier event to this one, in steps of about half a microsecond.

        Raises:
            CudaError: one of the two was not recorded, or has not happened yet: `synchronize` waits for it.
        """
        return self._calls.elapsed_ms(earlier._living(), self._living())

    def synchronize(self) -> None:
        """Wait until the work before this event is done."""
        self._calls.synchronize_event(self._living())

    def _destroy(self, handle: Handle) -> None:
        self._calls.destroy_event(handle)


class Stream(Owned):
    """A queue of work. It does not wait for the default stream: wait for torch before its tensors are used here."""

    kind = "stream"

    @property
    def handle(self) -> int:
        """The stream as the driver knows it, a `CUstream`: what TensorRT's `execute_async_v3` takes."""
        return self._calls.stream_handle(self._living())

    def copy_to_device(self, address: int, array: npt.NDArray[Any]) -> None:
        """Enqueue a copy of a whole array to an address on the GPU.

        A page-locked array must keep its values until the stream has been synchronised; an array in a captured copy
        must live as long as the graph, which reads it again at every launch.

        Args:
            address: where `array.nbytes` bytes are allocated.
            array: C-contiguous, any shape and dtype.

        Raises:
            InputError: the array is not C-contiguous.
        """
        if array.nbytes:
            self._calls.copy_to_device(address, _bytes_of(array), self._living())

    def copy_to_host(self, array: npt.NDArray[Any], address: int) -> None:
        """Enqueue a copy from an address on the GPU into a whole array, which holds the values after `synchronize`.

        Args:
            array: C-contiguous and writable, any shape and dtype.
            address: where `array.nbytes` bytes are allocated.

        Raises:
            InputError: the array is not C-contiguous, or cannot be written.
        """
        if not array.flags.writeable:
            raise InputError("the array to copy into is read-only: pass one that can be written")
        if array.nbytes:
            self._calls.copy_to_host(_bytes_of(array), address, self._living())

    def copy_on_device(self, to_address: int, from_address: int, size_bytes: int) -> None:
        """Enqueue a copy of `size_bytes` from one place on the GPU to another."""
        self._calls.copy_on_device(to_address, from_address, size_bytes, self._living())

    def record(self, event: Event) -> None:
        """Enqueue an event: it happens when the work before it is done."""
        self._calls.record_event(event._living(), self._living())

    def synchronize(self) -> None:
        """Wait until all work of this stream is done."""
        self._calls.synchronize_stream(self._living())

    def capture(self, run: Callable[[], None]) -> Graph:
        """Record the work that `run` enqueues on this stream, without doing it.

        Args:
            run: enqueues work; it may not synchronise or allocate on the GPU (let it run once before).

        Returns:
            A graph whose launch does that work, on the same addresses.

        Raises:
            CudaError: something was called that cannot be recorded.
        """
        stream = self._living()
        self._calls.begin_capture(stream)
        try:
            run()
        except BaseException:
            with contextlib.suppress(
                HarnessError
            ):  # what stopped `run` is the news; a broken capture ends with an error
                self._calls.destroy_graph(self._calls.end_capture(stream))
            raise
        recorded = self._calls.end_capture(stream)
        try:
            executable = self._calls.instantiate(recorded)
        finally:
            self._calls.destroy_graph(recorded)
        return Graph(self._calls, executable, self._alive)

    def _destroy(self, handle: Handle) -> None:
        self._calls.destroy_stream(handle)


class Graph(Owned):
    """Work that was recorded, launched as one: little time on the CPU however many kernels it has."""

    kind = "graph"

    def launch(self, stream: Stream) -> None:
        """Enqueue all of the recorded work on a stream."""
        self._calls.launch(self._living(), stream._living())

    def _destroy(self, handle: Handle) -> None:
        self._calls.destroy_executable(handle)


def _bytes_of(array: npt.NDArray[Any]) -> Bytes:
    if not array.flags.c_contiguous:
        raise InputError(
            f"an array of shape {array.shape} that is copied to or from a GPU lies scattered in memory: "
            "pass it through numpy.ascontiguousarray"
        )
    return array.reshape(-1).view(np.uint8)
