"""Run a plan's graph: ONNX Runtime with all optimizations off, on addresses of host memory."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from tests.engines.tensorrt.simulated.graphs import Graph

Values = dict[str, npt.NDArray[Any]]


class Program:
    """A graph that can be run. BF16, for which ONNX Runtime has no CPU kernels, runs in onnx's reference evaluator."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._shapes: dict[tuple[Any, ...], dict[str, tuple[int, ...]]] = {}

    @cached_property
    def _session(self) -> Any:
        if TensorProto.BFLOAT16 in self.graph.element_types:
            from onnx.reference import ReferenceEvaluator

            return ReferenceEvaluator(self.graph.model)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(self.graph.model.SerializeToString(), options, ["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Values:
        """Return the outputs by name, in newly made memory."""
        names = [tensor.name for tensor in self.graph.outputs]
        return dict(zip(names, map(np.asarray, self._session.run(None, dict(inputs))), strict=True))

    def output_shapes(self, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return the outputs' shapes for inputs of these shapes, found by running zeros."""
        key = tuple(sorted(inputs.items()))
        if key not in self._shapes:
            zeros = {name: np.zeros(shape, self.dtype(name)) for name, shape in inputs.items()}
            self._shapes[key] = {name: value.shape for name, value in self.run(zeros).items()}
        return self._shapes[key]

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the numpy type of a tensor."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.graph.tensors[name].element_type))


def read(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Copy a tensor from an address."""
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(ctypes.string_at(address, n_bytes), dtype).reshape(shape)


def write(address: int, values: npt.NDArray[Any]) -> None:
    """Copy a tensor to an address."""
    data = np.ascontiguousarray(values).tobytes()
    ctypes.memmove(address, data, len(data))


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_JOBS: dict[int, Callable[[], None]] = {}  # kept as long as the process: a CUDA graph may run one at any time
_FAILED: list[BaseException] = []
_LOCK = threading.Lock()


def _run_job(number: int | None) -> None:
    try:
        _JOBS[number or 0]()
    except BaseException as error:  # it cannot pass through C
        _FAILED.append(error)


_run_job_in_c = _CALLBACK(_run_job)


def register(job: Callable[[], None]) -> int:
    """Keep a job and return its number."""
    with _LOCK:
        number = len(_JOBS) + 1
        _JOBS[number] = job
    return number


def enqueue(number: int, stream_handle: int) -> bool:
    """Put a job on a stream of the simulated CUDA driver; without that driver, run it at once."""
    if _FAILED:  # in a graph's launch, which could not raise it
        raise _FAILED.pop()
    driver = _driver()
    if driver is None:
        _JOBS[number]()
        return True
    code = driver.simulated_enqueue(ctypes.c_void_p(stream_handle), _run_job_in_c, ctypes.c_void_p(number))
    if _FAILED:
        raise _FAILED.pop()
    return bool(code == 0)


def _driver() -> Any:
    """Return the simulated driver if this process has loaded it.

    Raises:
        RuntimeError: a real driver is loaded; the simulation must not touch a GPU's addresses.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return None
    if not hasattr(library, "simulated_enqueue"):
        raise RuntimeError("simulated TensorRT beside a real CUDA driver: load the simulated driver instead")
    return library
