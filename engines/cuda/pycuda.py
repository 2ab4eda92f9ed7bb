"""The driver's calls as pycuda spells them; graphs, which it lacks, go to the driver directly."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np

from contracts.errors import HarnessError
from engines.cuda.calls import Bytes, Calls, Handle
from engines.cuda.direct_calls import DirectCalls
from engines.cuda.errors import failure


class PycudaCalls(Calls):
    """Calls through `pycuda.driver`.

    A block's handle is its object and a graph's the driver's own. pycuda destroys a stream and an event with the last
    reference to them, so theirs is a list that alone refers to the object: a traceback that keeps the list keeps
    nothing alive once it is emptied, and what is destroyed only after its context leaks.
    """

    def __init__(self) -> None:
        from pycuda import driver

        self._driver = driver
        self._direct = DirectCalls()
        self.name = f"pycuda {importlib.metadata.version('pycuda')}"

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            del function, arguments  # the traceback keeps this frame, and they may keep a stream alive
            call, _, text = str(error).partition(" failed: ")
            raise failure(call, self._direct.error_name(text)) from error

    def push_context(self) -> Handle:
        """Retain the primary context of GPU 0 and make it current."""
        self._call(self._driver.init)
        context = self._call(self._call(self._driver.Device, 0).retain_primary_context)
        try:
            self._call(context.push)
        except HarnessError:
            self._release(context)
            raise
        return context

    def pop_context(self, context: Handle) -> None:
        """Make the previous context current and release this one."""
        self._call(self._driver.Context.pop)
        self._release(context)

    def _release(self, context: Handle) -> None:
        self._call(context.detach)
        # To release a context that is not current, pycuda makes it current and leaves it there: with contexts of its
        # own the driver takes a released one off the stack, with a primary one it does not.
        self._direct.pop_context()

    def synchronize(self) -> None:
        """Wait for all work."""
        self._call(self._driver.Context.synchronize)

    def memory_bytes(self) -> tuple[int, int]:
        """Return free and total bytes."""
        free, total = self._call(self._driver.mem_get_info)
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> Handle:
        """Allocate on the GPU."""
        return self._call(self._driver.mem_alloc, size_bytes)

    def address(self, block: Handle) -> int:
        """Return where a block lies."""
        return int(block)

    def free(self, block: Handle) -> None:
        """Free a block."""
        self._call(block.free)

    def allocate_pinned(self, size_bytes: int) -> tuple[Handle, Bytes]:
        """Allocate page-locked memory."""
        memory = self._call(self._driver.pagelocked_empty, size_bytes, np.uint8)
        return memory.base, memory

    def free_pinned(self, block: Handle) -> None:
        """Free page-locked memory."""
        self._call(block.free)

    def create_stream(self) -> Handle:
        """Create a stream."""
        return [self._call(self._driver.Stream, 1)]  # CU_STREAM_NON_BLOCKING, which pycuda does not name

    def stream_handle(self, stream: Handle) -> int:
        """Return the `CUstream`."""
        return int(stream[0].handle)

    def destroy_stream(self, stream: Handle) -> None:
        """Destroy a stream."""
        stream.clear()

    def synchronize_stream(self, stream: Handle) -> None:
        """Wait for a stream."""
        self._call(stream[0].synchronize)

    def copy_to_device(self, address: int, source: Bytes, stream: Handle) -> None:
        """Enqueue a copy to the GPU."""
        self._call(self._driver.memcpy_htod_async, address, source, stream[0])

    def copy_to_host(self, target: Bytes, address: int, stream: Handle) -> None:
        """Enqueue a copy from the GPU."""
        self._call(self._driver.memcpy_dtoh_async, target, address, stream[0])

    def copy_on_device(self, to_address: int, from_address: int, size_bytes: int, stream: Handle) -> None:
        """Enqueue a copy on the GPU."""
        self._call(self._driver.memcpy_dtod_async, to_address, from_address, size_bytes, stream[0])

    def create_event(self) -> Handle:
        """Create an event."""
        return [self._call(self._driver.Event)]

    def destroy_event(self, event: Handle) -> None:
        """Destroy an event."""
        event.clear()

    def record_event(self, event: Handle, stream: Handle) -> None:
        """Enqueue an event."""
        self._call(event[0].record, stream[0])

    def synchronize_event(self, event: Handle) -> None:
        """Wait for an event."""
        self._call(event[0].synchronize)

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Return the milliseconds between two events."""
        return float(self._call(end[0].time_since, start[0]))

    def begin_capture(self, stream: Handle) -> None:
        """Record from now on."""
        self._direct.begin_capture(stream[0].handle)

    def end_capture(self, stream: Handle) -> Handle:
        """End a capture."""
        return self._direct.end_capture(stream[0].handle)

    def instantiate(self, graph: Handle) -> Handle:
        """Make a graph executable."""
        return self._direct.instantiate(graph)

    def launch(self, executable: Handle, stream: Handle) -> None:
        """Enqueue a graph."""
        self._direct.launch(executable, stream[0].handle)

    def destroy_graph(self, graph: Handle) -> None:
        """Destroy what was recorded."""
        self._direct.destroy_graph(graph)

    def destroy_executable(self, executable: Handle) -> None:
        """Destroy an executable graph."""
        self._direct.destroy_executable(executable)
