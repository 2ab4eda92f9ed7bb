"""What the packages lack, asked of the driver directly: graphs and names of errors for pycuda, times for both."""

from __future__ import annotations

import ctypes
from typing import Any

from engines.cuda.driver import LIBRARY, error_name
from engines.cuda.errors import failure

_THREAD_LOCAL = 1
_LARGEST_ERROR_CODE = 999


class DirectCalls:
    """Functions of the driver's library; streams, events and graphs are the driver's handles."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)

    def _call(self, call: str, *arguments: Any) -> None:
        code = getattr(self._library, call)(*arguments)
        if code:
            raise failure(call.partition("_v")[0], error_name(self._library, code))

    def elapsed_ms(self, start: int, end: int) -> float:
        """Return the milliseconds between two events that have happened."""
        elapsed = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(elapsed), ctypes.c_void_p(start), ctypes.c_void_p(end))
        return elapsed.value

    def begin_capture(self, stream: int) -> None:
        """Record the stream's work from now on, in the thread-local mode."""
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """End a capture and return the graph."""
        graph = ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        return graph.value or 0

    def instantiate(self, graph: int) -> int:
        """Make a graph executable."""
        executable = ctypes.c_void_p()
        flags = ctypes.c_ulonglong(0)
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), ctypes.c_void_p(graph), flags)
        return executable.value or 0

    def launch(self, executable: int, stream: int) -> None:
        """Enqueue an executable graph."""
        self._call("cuGraphLaunch", ctypes.c_void_p(executable), ctypes.c_void_p(stream))

    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph."""
        self._call("cuGraphDestroy", ctypes.c_void_p(graph))

    def destroy_executable(self, executable: int) -> None:
        """Destroy an executable graph."""
        self._call("cuGraphExecDestroy", ctypes.c_void_p(executable))

    def pop_context(self) -> None:
        """Take the current context off the thread's stack."""
        self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def error_name(self, text: str) -> str:
        """Return the name of the error that the driver describes with `text`, or the text."""
        found = ctypes.c_char_p()
        for code in range(1, _LARGEST_ERROR_CODE + 1):
            if self._library.cuGetErrorString(code, ctypes.byref(found)) == 0 and found.value == text.encode():
                return error_name(self._library, code)
        return text
