"""A plan in the runtime: its tensors, their types, and the batch sizes that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from engines.backend import EngineManifest
from engines.tensorrt import versions
from engines.tensorrt.flavour import Bindings, Flavour, begun, possibly
from engines.tensorrt.messages import Messages
from engines.tensorrt.running.profiles import Profile

if TYPE_CHECKING:
    import tensorrt

_NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT8": np.int8, "UINT8": np.uint8}
"""By TensorRT's own names: its own mapping (`nptype`) fails under newer NumPy in old versions."""


@dataclass(frozen=True)
class LoadedPlan:
    """A deserialized plan. The attributes are freed in their order, and the runtime must outlive its engine.

    Attributes:
        engine: TensorRT's engine.
        runtime: TensorRT's runtime.
        messages: what was said meanwhile and will be.
    """

    engine: tensorrt.ICudaEngine
    runtime: tensorrt.Runtime
    messages: Messages

    def tensor_of(self, mode: tensorrt.TensorIOMode) -> str:
        """Return the name of the one tensor that is an input, or an output."""
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        (found,) = (name for name in names if self.engine.get_tensor_mode(name) == mode)
        return found

    def profiles_of(self, tensor: str) -> Sequence[Profile]:
        """Return the batch sizes of every optimisation profile, by an input."""
        count = self.engine.num_optimization_profiles
        shapes = [self.engine.get_tensor_profile_shape(tensor, index) for index in range(count)]
        return [(smallest[0], tuned[0], largest[0]) for smallest, tuned, largest in shapes]

    def numpy_type_of(self, tensor: str) -> npt.DTypeLike:
        """Return the type of a tensor's elements.

        Raises:
            InputError: NumPy has no such type.
        """
        name = self.engine.get_tensor_dtype(tensor).name
        if name not in _NUMPY_TYPES:
            raise InputError(f"{tensor} of the plan is {name}, which NumPy lacks: export the graph with float32 there")
        return _NUMPY_TYPES[name]


def load_plan(trt: Bindings, flavour: Flavour, path: Path, manifest: EngineManifest) -> LoadedPlan:
    """Deserialize a plan; a CUDA context must be current.

    Raises:
        InputError: TensorRT refuses it.
        MissingDependencyError: CUDA cannot begin here.
    """
    messages = Messages(trt)
    versions.prepare_plugins(trt, messages.logger)
    runtime = begun(lambda: trt.Runtime(messages.logger), flavour, lambda: messages.reason)
    if manifest.options.get("version_compatible"):
        runtime.engine_host_code_allowed = True  # such a plan brings its own runtime
    if (core := manifest.options.get("dla_core")) is not None:
        runtime.DLA_core = core
    engine = possibly(runtime.deserialize_cuda_engine(path.read_bytes()))
    if engine is None:
        raise InputError(f"{path} is no engine for {manifest.backend} {trt.__version__}: {messages.reason}")
    return LoadedPlan(engine, runtime, messages)
