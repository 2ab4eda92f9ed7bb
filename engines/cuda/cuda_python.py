"""The driver's calls as NVIDIA's cuda-python spells them (the package `cuda-bindings`, 12.6 and later)."""

from __future__ import annotations

import ctypes
import importlib.metadata
from typing import Any

import numpy as np

from engines.cuda.calls import Bytes, Calls, Handle
from engines.cuda.direct_calls import DirectCalls
from engines.cuda.errors import CudaError, failure


class CudaPythonCalls(Calls):
    """Calls through `cuda.bindings.driver`; a handle is the driver's own, as an int."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._driver = driver
        self._direct = DirectCalls()
        self.name = f"cuda-python {importlib.metadata.version('cuda-bindings')}"

    def _call(self, call: str, *arguments: Any) -> Any:
        try:
            status, *values = getattr(self._driver, call)(*arguments)
        except RuntimeError as error:  # a function that only newer drivers have
            explanation = f"{self.name} is newer than the driver: install a cuda-bindings of the driver's CUDA version"
            raise CudaError(call, "CUDA_ERROR_NOT_FOUND", explanation) from error
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise failure(call, status.name)
        return values[0] if len(values) == 1 else values

    def push_context(self) -> Handle:
        """Retain the primary context of GPU 0 and make it current."""
        self._call("cuInit", 0)
        device = self._call("cuDeviceGet", 0)
        context = self._call("cuDevicePrimaryCtxRetain", device)
        try:
            self._call("cuCtxPushCurrent", context)
        except CudaError:
            self._call("cuDevicePrimaryCtxRelease", device)
            raise
        return device

    def pop_context(self, context: Handle) -> None:
        """Make the previous context current and release this one."""
        self._call("cuCtxPopCurrent")
        self._call("cuDevicePrimaryCtxRelease", context)

    def synchronize(self) -> None:
        """Wait for all work."""
        self._call("cuCtxSynchronize")

    def memory_bytes(self) -> tuple[int, int]:
        """Return free and total bytes."""
        free, total = self._call("cuMemGetInfo")
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> Handle:
        """Allocate on the GPU."""
        return int(self._call("cuMemAlloc", size_bytes))

    def address(self, block: Handle) -> int:
        """Return where a block lies."""
        return int(block)

    def free(self, block: Handle) -> None:
        """Free a block."""
        self._call("cuMemFree", block)

    def allocate_pinned(self, size_bytes: int) -> tuple[Handle, Bytes]:
        """Allocate page-locked memory."""
        address = int(self._call("cuMemHostAlloc", size_bytes, 0))
        return address, np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))

    def free_pinned(self, block: Handle) -> None:
        """Free page-locked memory."""
        self._call("cuMemFreeHost", block)

    def create_stream(self) -> Handle:
        """Create a stream."""
        return int(self._call("cuStreamCreate", self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value))

    def stream_handle(self, stream: Handle) -> int:
        """Return the `CUstream`."""
        return int(stream)

    def destroy_stream(self, stream: Handle) -> None:
        """Destroy a stream."""
        self._call("cuStreamDestroy", stream)

    def synchronize_stream(self, stream: Handle) -> None:
        """Wait for a stream."""
        self._call("cuStreamSynchronize", stream)

    def copy_to_device(self, address: int, source: Bytes, stream: Handle) -> None:
        """Enqueue a copy to the GPU."""
        self._call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, stream)

    def copy_to_host(self, target: Bytes, address: int, stream: Handle) -> None:
        """Enqueue a copy from the GPU."""
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, stream)

    def copy_on_device(self, to_address: int, from_address: int, size_bytes: int, stream: Handle) -> None:
        """Enqueue a copy on the GPU."""
        self._call("cuMemcpyDtoDAsync", to_address, from_address, size_bytes, stream)

    def create_event(self) -> Handle:
        """Create an event."""
        return int(self._call("cuEventCreate", self._driver.CUevent_flags.CU_EVENT_DEFAULT.value))

    def destroy_event(self, event: Handle) -> None:
        """Destroy an event."""
        self._call("cuEventDestroy", event)

    def record_event(self, event: Handle, stream: Handle) -> None:
        """Enqueue an event."""
        self._call("cuEventRecord", event, stream)

    def synchronize_event(self, event: Handle) -> None:
        """Wait for an event."""
        self._call("cuEventSynchronize", event)

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Return the milliseconds between two events."""
        # From 12.8 on the package asks the driver for a version of this function that the drivers before 12.8 lack,
        # those of JetPack 6 among them.
        return self._direct.elapsed_ms(start, end)

    def begin_capture(self, stream: Handle) -> None:
        """Record from now on."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Handle) -> Handle:
        """End a capture."""
        return int(self._call("cuStreamEndCapture", stream))

    def instantiate(self, graph: Handle) -> Handle:
        """Make a graph executable."""
        return int(self._call("cuGraphInstantiate", graph, 0))

    def launch(self, executable: Handle, stream: Handle) -> None:
        """Enqueue a graph."""
        self._call("cuGraphLaunch", executable, stream)

    def destroy_graph(self, graph: Handle) -> None:
        """Destroy what was recorded."""
        self._call("cuGraphDestroy", graph)

    def destroy_executable(self, executable: Handle) -> None:
        """Destroy an executable graph."""
        self._call("cuGraphExecDestroy", executable)
