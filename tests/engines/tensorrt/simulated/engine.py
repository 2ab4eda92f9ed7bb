"""Simulated Runtime and ICudaEngine."""

from __future__ import annotations

import math
import weakref
from typing import Any

import onnx

from tests.engines.tensorrt.simulated import gpu
from tests.engines.tensorrt.simulated.behaviour import Behaviour, major, say, stored
from tests.engines.tensorrt.simulated.foundations import dims, host_memory
from tests.engines.tensorrt.simulated.graphs import Tensor, engine_layers, graph_of
from tests.engines.tensorrt.simulated.network import data_type
from tests.engines.tensorrt.simulated.plan import Header, refusal, unpacked
from tests.engines.tensorrt.simulated.recorded_classes import make
from tests.engines.tensorrt.simulated.running import Program


class Runtime(Behaviour):
    """Loads plans."""

    def _begin(self, logger: Any) -> None:  # type: ignore[override]
        self._logger = logger

    error_recorder = stored(None)
    max_threads = stored(1)
    engine_host_code_allowed = stored(False)
    DLA_core = stored(-1)
    num_DLA_cores = property(lambda _: gpu.dla_cores())  # noqa: N815 - TensorRT's name
    logger = property(lambda self: self._logger)

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        """Return the engine of a plan; None, with an error, for one that is damaged, or of another version or GPU."""
        data = bytes(serialized_engine)
        try:
            header, model = unpacked(data)
        except ValueError as error:
            return self._fail(f"Error Code 1: Serialization ({error})")
        allowed = self.engine_host_code_allowed
        refused = refusal(header, self._trt, gpu.compute_capability(), host_code_allowed=allowed)
        if refused is not None:
            return self._fail(refused)
        return make(self._trt.ICudaEngine, header, model, data, self._logger)

    def _fail(self, text: str) -> None:
        say(self._logger, "ERROR", f"IRuntime::deserializeCudaEngine: {text}")


class RuntimeConfig(Behaviour):
    """How an execution context is made."""

    def _begin(self) -> None:
        self._strategy = self._trt.ExecutionContextAllocationStrategy.STATIC

    cuda_graph_strategy = stored("DISABLED")
    dynamic_shapes_kernel_specialization_strategy = stored("LAZY")

    def set_execution_context_allocation_strategy(self, strategy: Any = None) -> None:
        """Set who allocates a context's memory."""
        self._strategy = strategy or self._trt.ExecutionContextAllocationStrategy.STATIC

    def get_execution_context_allocation_strategy(self) -> Any:
        """Return who allocates a context's memory."""
        return self._strategy


class ICudaEngine(Behaviour):
    """A loaded plan."""

    def _begin(self, header: Header, model: bytes, data: bytes, logger: Any) -> None:  # type: ignore[override]
        self._header, self._data, self._logger = header, data, logger
        self._graph = graph_of(onnx.load_model_from_string(model))
        self._program = Program(self._graph)
        self._engine_layers = engine_layers(self._graph)

    error_recorder = stored(None)
    name = property(lambda self: self._header.name)
    num_io_tensors = property(lambda self: len(self._io))
    num_layers = property(lambda self: len(self._engine_layers))
    num_optimization_profiles = property(lambda self: max(len(self._header.profiles), 1))
    num_aux_streams = property(lambda _: 0)
    refittable = property(lambda self: "REFIT" in self._header.flags)
    has_implicit_batch_dimension = property(lambda _: False)
    engine_capability = property(lambda self: self._trt.EngineCapability.STANDARD)
    hardware_compatibility_level = property(
        lambda self: self._trt.HardwareCompatibilityLevel.__members__[self._header.compatibility]
    )
    profiling_verbosity = property(lambda self: self._trt.ProfilingVerbosity.__members__[self._header.verbosity])
    device_memory_size = property(lambda self: self._memory_bytes)
    device_memory_size_v2 = property(lambda self: self._memory_bytes)

    @property
    def _io(self) -> list[Tensor]:
        return [*self._graph.inputs, *self._graph.outputs]

    @property
    def _memory_bytes(self) -> int:
        """Four bytes an element of all tensors between layers, at the first profile's largest batch."""
        largest = max(
            (shapes["max"][0] for profile in self._header.profiles[:1] for shapes in profile.values()), default=1
        )
        inner = [tensor for name, tensor in self._graph.tensors.items() if name not in self._graph.weights]
        return sum(4 * math.prod(largest if size == -1 else size for size in tensor.shape) for tensor in inner)

    def _named(self, name: str) -> Tensor | None:
        found = next((tensor for tensor in self._io if tensor.name == name), None)
        if found is None:
            text = f"Given invalid tensor name: {name}. Get valid tensor names with getIOTensorName()"
            say(self._logger, "ERROR", f"ICudaEngine: Error Code 3: API Usage Error ({text})")
        return found

    def get_tensor_name(self, index: int) -> str | None:
        """Return the name of an input or output, None beyond the last."""
        return self._io[index].name if 0 <= index < len(self._io) else None

    def __getitem__(self, arg0: int) -> str:
        if not -len(self._io) <= arg0 < len(self._io):
            raise IndexError("Out of bounds")
        return self._io[arg0].name

    def get_tensor_mode(self, name: str) -> Any:
        """Return whether it is an input or an output, NONE for another name."""
        modes, tensor = self._trt.TensorIOMode, self._named(name)
        if tensor is None:
            return modes.NONE
        return modes.INPUT if tensor in self._graph.inputs else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        """Return a tensor's type."""
        tensor = self._named(name)
        return data_type(self._trt, tensor.element_type if tensor else 1)

    def get_tensor_shape(self, name: str) -> Any:
        """Return a tensor's shape, -1 where it is dynamic."""
        tensor = self._named(name)
        return dims(self._trt, tensor.shape if tensor else ())

    def get_tensor_location(self, name: str) -> Any:
        """Return that all tensors lie on the device."""
        return self._trt.TensorLocation.DEVICE

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        """Return that all tensors are linear."""
        return self._trt.TensorFormat.LINEAR

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        """Return the bytes of an element."""
        return int(self.get_tensor_dtype(name).itemsize)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        """Return an input's smallest, best and largest shape in a profile."""
        tensor = self._named(name)
        profiles = self._header.profiles
        if tensor is None or not 0 <= profile_index < self.num_optimization_profiles:
            return []
        shapes = profiles[profile_index].get(name) if profiles else None
        each = [shapes[at] for at in ("min", "opt", "max")] if shapes else [list(tensor.shape)] * 3
        return [dims(self._trt, shape) for shape in each]

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        """Return a context's memory in bytes."""
        return self._memory_bytes

    def get_engine_stat(self, stat: Any = None) -> int:
        """Return the bytes of the weights; -1 for stripped ones in a plan that has them all."""
        total = stat is None or stat.name == "TOTAL_WEIGHTS_SIZE"
        return self._graph.weights_bytes if total or "STRIP_PLAN" in self._header.flags else -1

    def serialize(self) -> Any:
        """Return the plan."""
        return host_memory(self._trt, self._data)

    def _claim(self, context: Any, profile: int) -> bool:
        """Give a context a profile; before 10, one context at a time may have it."""
        holders = vars(self).setdefault("_holders", weakref.WeakValueDictionary())
        if major(self._trt) == 8 and holders.get(profile, context) is not context:
            return False
        holders[profile] = context
        return True

    def create_runtime_config(self) -> Any:
        """Return how a context is made."""
        return make(self._trt.IRuntimeConfig)

    def create_execution_context(self, strategy: Any = None, runtime_config: Any = None) -> Any:
        """Return a context; None, with an error, for a plan without its weights."""
        if "STRIP_PLAN" in self._header.flags:
            text = "Error Code 3: API Usage Error (The engine was stripped of its weights: refit it first)"
            return say(self._logger, "ERROR", f"ICudaEngine::createExecutionContext: {text}")
        return make(self._trt.IExecutionContext, self)

    def create_engine_inspector(self) -> Any:
        """Return an inspector."""
        return make(self._trt.EngineInspector, self)


BEHAVIOURS: dict[str, type] = {"Runtime": Runtime, "IRuntimeConfig": RuntimeConfig, "ICudaEngine": ICudaEngine}
