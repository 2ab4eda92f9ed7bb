"""Simulated IExecutionContext."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tests.engines.tensorrt.simulated.behaviour import Behaviour, say, stored
from tests.engines.tensorrt.simulated.foundations import dims
from tests.engines.tensorrt.simulated.graphs import Tensor
from tests.engines.tensorrt.simulated.running import enqueue, read, register, write

Shape = tuple[int, ...]


class IExecutionContext(Behaviour):
    """Runs an engine on addresses of host memory."""

    def _begin(self, engine: Any) -> None:  # type: ignore[override]
        self._engine = engine
        self._graph, self._program = engine._graph, engine._program
        self._profile = 0
        self._jobs: dict[tuple[Any, ...], int] = {}
        self._addresses: dict[str, int] = {}
        self._unreported: list[tuple[str, float]] = []
        engine._claim(self, 0)
        self._forget_shapes()

    def _forget_shapes(self) -> None:
        self._shapes: dict[str, Shape] = {
            tensor.name: tensor.shape for tensor in self._graph.inputs if -1 not in tensor.shape
        }

    debug_sync = stored(False)
    enqueue_emits_profile = stored(True)
    error_recorder = stored(None)
    name = stored("")
    nvtx_verbosity = stored("LAYER_NAMES_ONLY")
    persistent_cache_limit = stored(0)
    profiler = stored(None)
    engine = property(lambda self: self._engine)
    active_optimization_profile = property(lambda self: self._profile)
    all_binding_shapes_specified = property(lambda self: not self.infer_shapes())
    all_shape_inputs_specified = property(lambda _: True)

    def _fail(self, text: str) -> bool:
        say(
            self._engine._logger,
            "ERROR",
            f"IExecutionContext: Error Code 3: API Usage Error (Parameter check failed, {text})",
        )
        return False

    def _input(self, name: str) -> Tensor | None:
        return next((tensor for tensor in self._graph.inputs if tensor.name == name), None)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose a profile; the shapes of dynamic inputs must then be set again. The bindings raise for False."""
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            self._fail(f"condition: profileIndex < getNbOptimizationProfiles(), got {profile_index}")
            raise RuntimeError("Error in set optimization profile async.")
        if not self._engine._claim(self, profile_index):
            self._fail(f"Profile {profile_index} has been chosen by another IExecutionContext")
            raise RuntimeError("Error in set optimization profile async.")
        self._profile = profile_index
        self._forget_shapes()
        return True

    def is_stream_capturable(self, stream: Any) -> bool:
        """Return whether the engine was built for it."""
        return "REQUIRE_USER_ALLOCATION" in self._engine._header.flags

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        """Set an input's shape; False, with an error, out of the profile or for another name."""
        tensor, wanted = self._input(name), tuple(shape)
        if tensor is None:
            return self._fail(f"condition: {name} is an input")
        matches = len(wanted) == len(tensor.shape) and all(
            size in {-1, given} and given >= 0 for size, given in zip(tensor.shape, wanted, strict=True)
        )
        if not matches:
            return self._fail(
                "condition: engineDims.d[i] == dims.d[i]. Static dimension mismatch while setting input shape for "
                f"{name}. Set dimensions are {list(wanted)}. Expected dimensions are {list(tensor.shape)}."
            )
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        if -1 in tensor.shape and not all(a <= b <= c for a, b, c in zip(low, wanted, high, strict=True)):
            return self._fail(
                "condition: satisfyProfile. Runtime dimension does not satisfy any optimization profile. "
                f"Set dimensions are {list(wanted)}. Valid range is {list(low)} to {list(high)}."
            )
        self._shapes[name] = wanted
        return True

    def infer_shapes(self) -> list[str]:
        """Return the names of inputs whose shape is not set."""
        return [tensor.name for tensor in self._graph.inputs if tensor.name not in self._shapes]

    def get_tensor_shape(self, name: str) -> Any:
        """Return a tensor's shape as far as it is known, else -1."""
        tensor = self._engine._named(name)
        if tensor is None:
            return dims(self._trt, ())
        shape = self._shapes.get(name, tensor.shape)
        if -1 in shape and tensor in self._graph.outputs and not self.infer_shapes():
            shape = self._program.output_shapes(self._shapes)[name]
        return dims(self._trt, shape)

    def get_tensor_strides(self, name: str) -> Any:
        """Return a tensor's strides, in elements."""
        shape, strides = list(self.get_tensor_shape(name)), [1]
        for size in reversed(shape[1:]):
            strides.insert(0, strides[0] * size)
        return dims(self._trt, strides[: len(shape)])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Set where a tensor lies; False, with an error, for another name."""
        if self._engine._named(name) is None:
            return False
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        """Return where a tensor lies, 0 if that is not set."""
        return self._addresses.get(name, 0)

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Put one inference on a stream; False, with an error, while a shape or an address is not set."""
        if missing := self.infer_shapes():
            return self._fail(f"condition: allInputDimensionsSpecified. Not all shapes are specified: {missing[0]}")
        names = [tensor.name for tensor in self._engine._io]
        if unset := [name for name in names if not self._addresses.get(name)]:
            return self._fail(
                f"condition: mContext.profileObliviousBindings.at(index) != nullptr. Address is not set: {unset[0]}"
            )
        key = (tuple(sorted(self._shapes.items())), tuple(self._addresses[name] for name in names))
        if key not in self._jobs:
            self._jobs[key] = register(self._job(dict(self._shapes), dict(self._addresses)))
        done = enqueue(self._jobs[key], int(stream_handle))
        if self.profiler is not None and self.enqueue_emits_profile:
            self.report_to_profiler()
        return done

    def _job(self, shapes: dict[str, Shape], addresses: dict[str, int]) -> Any:
        """Return a function that does one inference with the shapes and addresses of now."""

        def infer() -> None:
            dtypes = {name: self._program.dtype(name) for name in shapes}
            inputs = {name: read(addresses[name], shape, dtypes[name]) for name, shape in shapes.items()}
            start = time.perf_counter()
            outputs = self._program.run(inputs)
            layers = [layer.name for layer in self._engine._engine_layers]
            each_ms = 1e3 * (time.perf_counter() - start) / len(layers)
            self._unreported = [(name, each_ms) for name in layers]
            for name, values in outputs.items():
                write(addresses[name], values.astype(self._program.dtype(name), copy=False))

        return infer

    def report_to_profiler(self) -> bool:
        """Tell the profiler the last inference's layers: a simulated inference's time, in equal parts."""
        if self.profiler is None or not self._unreported:
            return False
        for name, time_ms in self._unreported:
            self.profiler.report_layer_time(name, time_ms)
        self._unreported = []
        return True


BEHAVIOURS: dict[str, type] = {"IExecutionContext": IExecutionContext}
