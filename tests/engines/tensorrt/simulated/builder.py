"""Simulated Builder: refuses what TensorRT refuses to build, and writes a simulated plan of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from onnx import TensorProto

from tests.engines.tensorrt.simulated import gpu
from tests.engines.tensorrt.simulated.behaviour import Behaviour, major, say, stored
from tests.engines.tensorrt.simulated.foundations import host_memory
from tests.engines.tensorrt.simulated.graphs import Graph, engine_layers
from tests.engines.tensorrt.simulated.plan import Header, packed
from tests.engines.tensorrt.simulated.recorded_classes import make

PRECISIONS = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4")
NEEDS = {TensorProto.FLOAT16: "FP16", TensorProto.BFLOAT16: "BF16", TensorProto.INT8: "INT8"}
# Phases as TensorRT-RTX 1.7 tells them, with fewer steps: (name, parent, steps); a child fills its parent's last step.
PHASES = (
    ("Building engine", None, 3),
    ("Preparing graph for optimization", "Building engine", 4),
    ("Building engine from subgraph", "Building engine", 2),
    ("Optimizing graph", "Building engine from subgraph", 5),
    ("Timing graph nodes", "Building engine from subgraph", 3),
)


class CanceledError(Exception):
    """A progress monitor ended the build."""


class Builder(Behaviour):
    """Makes networks, configurations and plans."""

    def _begin(self, logger: Any) -> None:  # type: ignore[override]
        self._logger = logger

    error_recorder = stored(None)
    max_threads = stored(1)
    max_batch_size = stored(1)
    max_DLA_batch_size = property(lambda _: 1 << 28)  # noqa: N815 - TensorRT's name
    num_DLA_cores = property(lambda _: gpu.dla_cores())  # noqa: N815
    platform_has_tf32 = property(lambda _: gpu.compute_capability() >= (8, 0))
    platform_has_fast_fp16 = property(lambda _: True)
    platform_has_fast_int8 = property(lambda _: True)
    logger = property(lambda self: self._logger)

    def create_network(self, flags: int = 0) -> Any:
        """Return an empty network; None, with an error, for flags that this version does not have."""
        known = self._trt.NetworkDefinitionCreationFlag.__members__.values()
        allowed = sum(1 << int(flag) for flag in set(known))
        if flags & ~allowed:
            text = "flagSet.toU32() < (1U << EnumMax<NetworkDefinitionCreationFlag>())"
            return self._fail(
                f"IBuilder::createNetworkV2: Error Code 3: API Usage Error (Parameter check failed, {text})"
            )
        if major(self._trt) == 11:
            flags |= 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)  # always on
        return make(self._trt.INetworkDefinition, self, flags)

    def create_builder_config(self) -> Any:
        """Return a configuration."""
        return make(self._trt.IBuilderConfig, self._logger)

    def create_optimization_profile(self) -> Any:
        """Return an empty profile."""
        return make(self._trt.IOptimizationProfile)

    def is_network_supported(self, network: Any, config: Any) -> bool:
        """Return whether the network can be built."""
        return next(refusals(network, config), None) is None

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        """Return a plan; None, with an error, where it cannot be built or a progress monitor ended it."""
        refused = next(refusals(network, config), None)
        if refused is not None:
            return self._fail(f"IBuilder::buildSerializedNetwork: {refused}")
        graph: Graph = network._graph
        layers = engine_layers(graph)
        try:
            _report(config.progress_monitor if "IProgressMonitor" in vars(self._trt) else None)
        except CanceledError:
            return self._fail("IBuilder::buildSerializedNetwork: Error Code 7: BuildCanceled (Build canceled by user)")
        if config._cache is not None:
            config._cache._remember(layer.name for layer in layers)
        say(self._logger, "INFO", f"Total Weights Memory: {graph.weights_bytes} bytes")
        say(self._logger, "VERBOSE", f"simulated TensorRT: {len(layers)} layers, run by ONNX Runtime")
        return host_memory(self._trt, packed(header(network, config), graph.model.SerializeToString()))

    def _fail(self, text: str) -> None:
        say(self._logger, "ERROR", text)

    def reset(self) -> None:
        """Do nothing."""


def header(network: Any, config: Any) -> Header:
    """Return what the plan says about itself."""
    trt = network._trt
    capabilities = [divmod(int(each), 10) for each in config._capabilities if int(each) > 1]
    return Header(
        module=trt.__name__,
        version=trt.__version__,
        compute_capabilities=[list(each) for each in capabilities or [gpu.compute_capability()]],
        compatibility=config.hardware_compatibility_level.name,
        flags=[name for name in trt.BuilderFlag.__members__ if config._has(name)],
        profiles=[
            {name: {at: list(shape) for at, shape in shapes.items()} for name, shapes in profile._shapes.items()}
            for profile in config._profiles
        ],
        verbosity=config.profiling_verbosity.name,
        name=network.name,
        platform=config.runtime_platform.name if "RuntimePlatform" in vars(trt) else "SAME_AS_BUILD",
    )


def refusals(network: Any, config: Any) -> Iterator[str]:
    """Yield why a network cannot be built."""
    if network._graph is None:
        yield "Error Code 4: API Usage Error (Network must have at least one output.)"
        return
    yield from _precision_refusals(network, config)
    yield from _profile_refusals(network._graph, [profile._shapes for profile in config._profiles])
    trt = network._trt
    if trt.__name__ == "tensorrt_rtx" and config._has("VERSION_COMPATIBLE"):
        yield "Error Code 6: API Usage Error (Unable to load library: libnvinfer_lean.so.1)"
    if any(each.name == "NONE" for each in config._capabilities):
        yield "Unexpected exception bad optional access"
    if config.default_device_type.name == "DLA":
        if not 0 <= config.DLA_core < gpu.dla_cores():
            yield f"Error Code 4: API Usage Error (DLA core {config.DLA_core} does not exist.)"
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        stuck = [layer.name for layer in layers if not config.can_run_on_DLA(layer)]
        if stuck and not config._has("GPU_FALLBACK"):
            yield f"Error Code 4: Internal Error ({stuck[0]} cannot run on DLA and GPU fallback is not enabled.)"


def _precision_refusals(network: Any, config: Any) -> Iterator[str]:
    """Yield what strong typing forbids, and what a network without it lacks."""
    flags = network._trt.NetworkDefinitionCreationFlag.__members__
    if "STRONGLY_TYPED" in flags and network.get_flag(flags["STRONGLY_TYPED"]):
        for name in PRECISIONS:
            if config._has(name):
                text = (
                    f"condition: !config.getFlag(BuilderFlag::k{name}). It cannot be set in a strongly typed network."
                )
                yield f"Error Code 4: API Usage Error (Parameter check failed, {text})"
        return
    for element_type, name in NEEDS.items():
        if element_type in network._graph.element_types and not config._has(name):
            what = "Q/DQ nodes" if name == "INT8" else f"tensors of type {name}"
            yield f"Error Code 4: Internal Error (The network has {what}, but the builder flag k{name} is not set.)"


def _profile_refusals(graph: Graph, profiles: Sequence[dict[str, dict[str, tuple[int, ...]]]]) -> Iterator[str]:
    for tensor in graph.inputs:
        if -1 not in tensor.shape:
            continue
        if not profiles:
            text = "Network has dynamic or shape inputs, but no optimization profile has been defined."
            yield f"Error Code 4: API Usage Error ({text})"
        for index, shapes in enumerate(profiles):
            if tensor.name not in shapes:
                text = f"Dynamic input tensor {tensor.name} is missing dimensions in profile {index}."
                yield f"Error Code 4: API Usage Error ({text})"
                continue
            low, best, high = (shapes[tensor.name][at] for at in ("min", "opt", "max"))
            wrong = len(low) != len(tensor.shape) or any(
                size not in {-1, *sizes} or (size != -1 and len(set(sizes)) > 1)
                for size, *sizes in zip(tensor.shape, low, best, high, strict=True)
            )
            if wrong:
                text = f"profile has min={low}, opt={best}, max={high} but tensor has {tensor.shape}."
                mismatch = f"Dimension mismatch for tensor {tensor.name} and profile {index}."
                yield f"Error Code 4: API Usage Error ({mismatch} {text})"


def _report(monitor: Any) -> None:
    """Tell a progress monitor about the build; it ends one by answering False, and hears of every open phase's end."""
    if monitor is None:
        return
    _run_phase(monitor, 0)


def _run_phase(monitor: Any, index: int) -> None:
    name, parent, steps = PHASES[index]
    children = [i for i, phase in enumerate(PHASES) if phase[1] == name]
    monitor.phase_start(name, parent, steps)
    try:
        for step in range(steps):
            if step < len(children):
                _run_phase(monitor, children[step])
            if not monitor.step_complete(name, step):
                raise CanceledError
    finally:
        monitor.phase_finish(name)


BEHAVIOURS: dict[str, type] = {"Builder": Builder}
