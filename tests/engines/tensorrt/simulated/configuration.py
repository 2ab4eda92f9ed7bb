"""Simulated IBuilderConfig, optimisation profiles and timing caches; first values are those of TensorRT-RTX 1.7."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from tests.engines.tensorrt.simulated import gpu
from tests.engines.tensorrt.simulated.behaviour import Behaviour, say, stored
from tests.engines.tensorrt.simulated.foundations import dims, host_memory
from tests.engines.tensorrt.simulated.recorded_classes import make

CACHE_MAGIC = b"simulated timing cache\n"
SHAPES = ("min", "opt", "max")
Shapes = dict[str, tuple[int, ...]]


class IOptimizationProfile(Behaviour):
    """Smallest, best and largest shape of every dynamic input."""

    def _begin(self) -> None:
        self._shapes: dict[str, Shapes] = {}

    extra_memory_target = stored(1.0)

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        """Set an input's shapes; wrong ones are found when the profile is added or the network is built."""
        self._shapes[input] = {"min": tuple(min), "opt": tuple(opt), "max": tuple(max)}

    def get_shape(self, input: str) -> list[Any]:
        """Return an input's shapes; none for one that was not set."""
        shapes = self._shapes.get(input)
        return [dims(self._trt, shapes[name]) for name in SHAPES] if shapes else []

    def _is_valid(self) -> bool:
        return all(
            len({len(shape) for shape in shapes.values()}) == 1
            and all(
                0 <= low <= best <= high for low, best, high in zip(*(shapes[name] for name in SHAPES), strict=True)
            )
            for shapes in self._shapes.values()
        )


class ITimingCache(Behaviour):
    """Names of kernels that were timed, for one version and GPU."""

    def _begin(self, data: bytes, logger: Any) -> None:  # type: ignore[override]
        self._owner = {"version": self._trt.__version__, "gpu": gpu.name()}
        self._timed: set[str] = set()
        if not data:
            return
        try:
            found = json.loads(data.removeprefix(CACHE_MAGIC)) if data.startswith(CACHE_MAGIC) else {}
            self._owner, self._timed = found["owner"], set(found["timed"])
        except (KeyError, TypeError, ValueError):
            say(logger, "WARNING", "Failed to deserialize timing cache. Returning an empty timing cache.")

    def serialize(self) -> Any:
        """Return the cache as bytes."""
        content = json.dumps({"owner": self._owner, "timed": sorted(self._timed)})
        return host_memory(self._trt, CACHE_MAGIC + content.encode())

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        """Take another cache's kernels in."""
        if input_cache._owner != self._owner and not ignore_mismatch:
            return False
        self._timed |= input_cache._timed
        return True

    def reset(self) -> bool:
        """Forget all kernels."""
        self._timed.clear()
        return True

    def _fits(self, *, ignore_mismatch: bool) -> bool:
        same_gpu = self._owner["gpu"] == gpu.name()
        return self._owner["version"] == self._trt.__version__ and (same_gpu or ignore_mismatch)

    def _remember(self, layers: Iterable[str]) -> None:
        self._timed |= {hashlib.sha256(layer.encode()).hexdigest() for layer in layers}


class IBuilderConfig(Behaviour):
    """How to build."""

    def _begin(self, logger: Any) -> None:  # type: ignore[override]
        self._logger = logger
        self._flags = 1 << int(self._trt.BuilderFlag.TF32)
        self._profiles: list[IOptimizationProfile] = []
        self._pools: dict[str, int] = {"WORKSPACE": 1 << 36, "DLA_LOCAL_DRAM": 1 << 30, "DLA_GLOBAL_DRAM": 1 << 29}
        self._pools |= {"DLA_MANAGED_SRAM": 0, "TACTIC_DRAM": 1 << 36, "TACTIC_SHARED_MEMORY": 1 << 30}
        self._cache: Any = None
        self._compatibility = "NONE"
        self._capabilities: list[Any] = []
        self._devices: dict[str, Any] = {}

    avg_timing_iterations = stored(1)
    builder_optimization_level = stored(3)
    DLA_core = stored(-1)
    default_device_type = stored("GPU")
    engine_capability = stored("STANDARD")
    l2_limit_for_tiling = stored(0)
    max_aux_streams = stored(-1)
    max_num_tactics = stored(-1)
    profile_stream = stored(0)
    profiling_verbosity = stored("LAYER_NAMES_ONLY")
    progress_monitor = stored(None)
    runtime_platform = stored("SAME_AS_BUILD")
    tiling_optimization_level = stored("NONE")
    flags = stored(0)
    num_optimization_profiles = property(lambda self: len(self._profiles))

    @property
    def hardware_compatibility_level(self) -> Any:
        """Which other GPUs the plan runs on; TensorRT-RTX says that it has none of it, and keeps NONE."""
        return self._trt.HardwareCompatibilityLevel.__members__[self._compatibility]

    @hardware_compatibility_level.setter
    def hardware_compatibility_level(self, value: Any) -> None:
        if self._trt.__name__ == "tensorrt_rtx":
            say(self._logger, "WARNING", "setHardwareCompatibilityLevel() is unsupported in TensorRT-RTX.")
        else:
            self._compatibility = value.name

    def set_flag(self, flag: Any) -> None:
        """Set a flag."""
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        """Clear a flag."""
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        """Return whether a flag is set."""
        return bool(self._flags & 1 << int(flag))

    def _has(self, name: str) -> bool:
        known = self._trt.BuilderFlag.__members__
        return name in known and self.get_flag(known[name])

    def reset(self) -> None:
        """Return to the first values."""
        logger = self._logger
        vars(self).clear()
        self._constructed = True
        self._begin(logger)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Limit a memory pool, in bytes."""
        self._pools[pool.name] = int(pool_size)

    def get_memory_pool_limit(self, pool: Any) -> int:
        """Return a pool's limit in bytes."""
        return self._pools[pool.name]

    def add_optimization_profile(self, profile: Any) -> int:
        """Add a profile; return its index, -1 for one whose shapes contradict each other."""
        if not profile._is_valid():
            say(self._logger, "ERROR", "Error Code 4: API Usage Error (Optimization profile is invalid.)")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        """Return a timing cache; an empty one for bytes that are none."""
        return make(self._trt.ITimingCache, bytes(serialized_timing_cache), self._logger)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        """Attach a cache; one of another version is refused, one of another GPU unless told to ignore that."""
        if not cache._fits(ignore_mismatch=ignore_mismatch):
            say(self._logger, "WARNING", "The timing cache was made by another version or on another device.")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        """Return the attached cache, or None."""
        return self._cache

    def set_device_type(self, layer: Any, device_type: Any) -> None:
        """Put a layer on a device."""
        self._devices[layer.name] = device_type

    def get_device_type(self, layer: Any) -> Any:
        """Return a layer's device."""
        return self._devices.get(layer.name, self.default_device_type)

    def is_device_type_set(self, layer: Any) -> bool:
        """Return whether a layer was put on a device."""
        return layer.name in self._devices

    def reset_device_type(self, layer: Any) -> None:
        """Put a layer back on the default device."""
        self._devices.pop(layer.name, None)

    def can_run_on_DLA(self, layer: Any) -> bool:  # noqa: N802 - TensorRT's name
        """Return whether the simulated DLA, if there is one, can run a layer."""
        return bool(gpu.dla_cores()) and layer.type.name in {"CONVOLUTION", "ACTIVATION", "POOLING", "ELEMENTWISE"}

    @property
    def num_compute_capabilities(self) -> int:
        """Number of compute capabilities that TensorRT-RTX builds for."""
        return len(self._capabilities)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, value: int) -> None:
        self._capabilities = [self._trt.ComputeCapability.NONE] * value

    def get_compute_capability(self, index: int) -> Any:
        """Return one of them, NONE beyond the last."""
        known = 0 <= index < len(self._capabilities)
        return self._capabilities[index] if known else self._trt.ComputeCapability.NONE

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        """Set one of them; False beyond the last."""
        if not 0 <= index < len(self._capabilities):
            return False
        self._capabilities[index] = compute_capability
        return True


BEHAVIOURS: dict[str, type] = {
    "IOptimizationProfile": IOptimizationProfile,
    "ITimingCache": ITimingCache,
    "IBuilderConfig": IBuilderConfig,
}
