"""Running a TensorRT plan: tensors by name and address, on a stream of its own, with copies from page-locked memory.

One way for all versions from 8.6 on: `set_input_shape`, `set_tensor_address`, `execute_async_v3`.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import InputError
from engines.backend import EngineManifest
from engines.cuda.array import DeviceArray, address_of
from engines.cuda.device import Device
from engines.cuda.implementations import open_device
from engines.engine import Array, Engine, LoadOptions, Spans
from engines.tensorrt import versions
from engines.tensorrt.flavour import Flavour, bindings
from engines.tensorrt.inspection.inspector import engine_layers
from engines.tensorrt.inspection.layers import EngineLayer, of_profile
from engines.tensorrt.running.loaded_plan import load_plan
from engines.tensorrt.running.profiles import profile_of, refuse_batch, rows_of_a_run

if TYPE_CHECKING:
    import tensorrt

_ALIGNMENT = 256
"""TensorRT's kernels may read and write vectors, so it asks for addresses that are multiples of this."""


class TensorRTEngine(Engine):
    """A plan with one execution context, the buffers of one run, and one stream."""

    def __init__(self, flavour: Flavour, path: Path, manifest: EngineManifest, options: LoadOptions) -> None:
        super().__init__(manifest.input_shape, manifest.classes, options)
        self._flavour = flavour
        self._trt = bindings(flavour)
        self._path = path
        self._manifest = manifest

    def infer_on_device(self, images: Any) -> DeviceArray:
        """Return the scores of a batch that lies on the GPU, on the GPU; nothing crosses the bus.

        Args:
            images: anything with `__cuda_array_interface__`, such as a torch tensor: float32, C-contiguous, shape
                (n, channels, height, width), in [0, 1], n at least 1; whatever still writes it is waited for.

        Returns:
            float32, shape (n, classes): new memory, which `torch.as_tensor` takes without a copy.

        Raises:
            InputError: the images do not have the engine's shape, or the engine is not active.
        """
        self._check_active()
        address, shape, dtype = address_of(images)
        if shape[1:] != self.input_shape or dtype != np.float32 or not shape[0] or self._output_type != np.float32:
            raise InputError(
                f"the engine takes float32 images of shape (n, {', '.join(map(str, self.input_shape))}), "
                f"got {dtype} {shape}"
            )
        self._device.synchronize()
        scores = DeviceArray.empty(self._device, (shape[0], self.classes), np.float32)
        bytes_in, bytes_out = 4 * int(np.prod(self.input_shape)), 4 * self.classes
        for start in range(0, shape[0], self.rows):
            rows = min(self.rows, shape[0] - start)
            source, target = address + start * bytes_in, scores.address + start * bytes_out
            if rows == self.rows and not (source % _ALIGNMENT or target % _ALIGNMENT):
                self._enqueue(source, target)
            else:  # fewer rows run among what an earlier batch left behind them
                self._stream.copy_on_device(self._input.address, source, rows * bytes_in)
                self._enqueue(self._input.address, self._output.address)
                self._stream.copy_on_device(target, self._output.address, rows * bytes_out)
        self._stream.synchronize()
        return scores

    def bind_spans(self, images: Array) -> Callable[[], Spans]:
        """Return a function that runs the batch once and tells where the time went; see `Engine.bind_spans`."""
        self._check_bindable(images)
        pinned = self._pinned_copy(images)
        started, copied, computed, done = (self._device.event() for _ in range(4))

        def run() -> Spans:
            stream = self._stream
            stream.record(started)
            stream.copy_to_device(self._input.address, pinned)
            stream.record(copied)
            before = time.perf_counter_ns()
            self._enqueue(self._input.address, self._output.address)
            after = time.perf_counter_ns()
            stream.record(computed)
            stream.copy_to_host(self._host_output, self._output.address)
            stream.record(done)
            stream.synchronize()
            return Spans(
                h2d_ms=copied.elapsed_ms_since(started),
                compute_ms=computed.elapsed_ms_since(copied),
                d2h_ms=done.elapsed_ms_since(computed),
                enqueue_ms=(after - before) / 1e6,
            )

        return run

    def layers(self) -> tuple[EngineLayer, ...]:
        """Return what the engine is made of, as TensorRT's inspector tells it.

        Raises:
            InputError: the engine is not active, or its inspector prints something unknown.
        """
        self._check_active()
        inspector = self._plan.engine.create_engine_inspector()
        inspector.execution_context = self._context
        told = engine_layers(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
        return of_profile(told, profile_of(self.rows, self._profiles) or 0)

    def layer_times_ms(self, runs: int) -> dict[str, float]:
        """Return the median time of every layer, in milliseconds, over so many runs of one batch of zeros.

        TensorRT documents no way to take its profiler off again: measure no latency with this engine afterwards.

        Raises:
            InputError: the engine is not active.
        """
        from engines.tensorrt.inspection.layer_times import layer_times_ms

        self._check_active()
        self.infer(np.zeros((self.rows, *self.input_shape), np.float32))

        def run() -> None:
            self._enqueue(self._input.address, self._output.address)
            self._stream.synchronize()

        return dict(layer_times_ms(self._trt, self._context, run, runs))

    def _activate(self) -> None:
        with ExitStack() as undo:
            self._device: Device = undo.enter_context(open_device())
            # TensorRT frees memory of the context that is current, so its objects go before the device.
            undo.callback(self._drop)
            self._plan = load_plan(self._trt, self._flavour, self._path, self._manifest)
            self._images = self._plan.tensor_of(self._trt.TensorIOMode.INPUT)
            self._scores = self._plan.tensor_of(self._trt.TensorIOMode.OUTPUT)
            self._profiles = self._plan.profiles_of(self._images)
            self.rows = rows_of_a_run(self.options.batch_size, self._profiles)
            self._stream = self._device.stream()
            self._context = self._new_context(self.rows)
            self._output_type = self._plan.numpy_type_of(self._scores)
            if self._plan.numpy_type_of(self._images) != np.float32:
                raise InputError(f"{self._path} takes {self._images} in another type than float32: build it again")
            self._input = self._device.allocate(4 * self.rows * int(np.prod(self.input_shape)))
            output_bytes = np.dtype(self._output_type).itemsize * self.rows * self.classes
            self._output = self._device.allocate(output_bytes)
            self._host_input = self._device.pinned((self.rows, *self.input_shape), np.float32)
            self._host_output = self._device.pinned((self.rows, self.classes), self._output_type)
            self._undo = undo.pop_all()

    def _infer(self, images: Array) -> Array:
        self._host_input[...] = images
        self._queue(self._host_input)
        self._stream.synchronize()
        scores: Array = self._host_output.astype(np.float32, copy=False)
        return scores

    def _bind(self, images: Array) -> Callable[[], None]:
        self._check_bindable(images)
        pinned = self._pinned_copy(images)
        synchronize = self._stream.synchronize
        if not self.options.cuda_graph:

            def run() -> None:
                self._queue(pinned)
                synchronize()

            return run
        if not versions.can_capture(self._context, self._stream.handle):
            raise InputError(
                f"{self._path} cannot run as a CUDA graph: build it again, or measure without measure.cuda_graph"
            )
        self._queue(pinned)  # what TensorRT sets up in a first run cannot be captured
        synchronize()
        graph, stream = self._stream.capture(lambda: self._queue(pinned)), self._stream

        def launch() -> None:
            graph.launch(stream)
            synchronize()

        return launch

    def _deactivate(self) -> None:
        self._undo.close()

    def _drop(self) -> None:
        # The frames of an error that is on its way hold TensorRT's objects too.
        if (trace := sys.exc_info()[2]) is not None:
            traceback.clear_frames(trace)
        for name in ("_context", "_context_settings", "_plan"):
            self.__dict__.pop(name, None)

    def _queue(self, host_images: Array) -> None:
        self._stream.copy_to_device(self._input.address, host_images)
        self._enqueue(self._input.address, self._output.address)
        self._stream.copy_to_host(self._host_output, self._output.address)

    def _enqueue(self, images: int, scores: int) -> None:
        self._context.set_tensor_address(self._images, images)
        self._context.set_tensor_address(self._scores, scores)
        if not self._context.execute_async_v3(self._stream.handle):
            raise InputError(f"{self._path} did not run: {self._plan.messages.reason}")

    def _new_context(self, rows: int) -> tensorrt.IExecutionContext:
        """Return an execution context for one batch size.

        Raises:
            InputError: there is no memory for it, or no profile.
        """
        context, self._context_settings = versions.new_context(self._trt, self._plan.engine)
        if context is None:
            raise self._too_little_memory()
        index = profile_of(rows, self._profiles)
        try:
            chosen = context.set_optimization_profile_async(index or 0, self._stream.handle)
        except RuntimeError:  # the bindings raise where the library says no
            chosen = False
        if not chosen:
            raise self._too_little_memory()
        self._stream.synchronize()
        if not context.set_input_shape(self._images, (rows, *self.input_shape)):
            raise refuse_batch(rows, self._profiles, self._manifest.backend)
        found: tensorrt.IExecutionContext = context
        return found

    def _too_little_memory(self) -> InputError:
        free, _ = self._device.free_memory_bytes()
        return InputError(
            f"{self._path} cannot run here: {self._plan.messages.reason} ({free / 2**20:.0f} MiB of GPU memory are "
            "free); free some, or build it with smaller profiles or a smaller workspace_bytes"
        )

    def _pinned_copy(self, images: Array) -> Array:
        pinned: Array = self._device.pinned(images.shape, np.float32)
        pinned[...] = images
        return pinned

    def _check_bindable(self, images: Array) -> None:
        self._check(images)
        if len(images) != self.rows:
            raise refuse_batch(len(images), self._profiles, self._manifest.backend)
