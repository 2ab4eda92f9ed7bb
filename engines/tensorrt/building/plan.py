"""From a network to a plan: the builder's configuration, its optimisation profiles, and the build itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import InputError
from engines.backend import Precision, Report
from engines.cuda.driver import Gpu
from engines.tensorrt import versions
from engines.tensorrt.building import timing_cache
from engines.tensorrt.building.network import Network, read_network
from engines.tensorrt.building.progress import monitor
from engines.tensorrt.flavour import Bindings, Flavour, begun, possibly
from engines.tensorrt.messages import Messages
from engines.tensorrt.options import AnyOptions

if TYPE_CHECKING:
    import tensorrt


@dataclass(frozen=True)
class Plan:
    """A serialized engine and what was said while it was built.

    Attributes:
        data: the bytes of the plan.
        messages: everything that the builder said.
    """

    data: bytes
    messages: Messages

    @property
    def weights_bytes(self) -> int | None:
        """Bytes of the engine's weights, as the builder says; None where it does not."""
        found = [match for line in self.messages.details if (match := re.search(r"Total Weights Memory: (\d+)", line))]
        return int(found[-1][1]) if found else None


def build_plan(
    trt: Bindings,
    flavour: Flavour,
    graph: Path,
    precision: Precision,
    options: AnyOptions,
    gpu: Gpu | None,
    report: Report,
) -> Plan:
    """Build an engine from an ONNX file and serialize it.

    Args:
        trt: the flavour's module.
        flavour: which of the two it is.
        graph: typed ONNX, with Q/DQ pairs for int8.
        precision: what the graph's types are; version 8 must be told.
        options: of the build.
        gpu: the GPU that is here, None where building needs none.
        report: told the fraction that is done.

    Raises:
        InputError: the graph or an option cannot be built; the sentence carries TensorRT's reason.
    """
    messages = Messages(trt)
    builder = begun(lambda: trt.Builder(messages.logger), flavour, lambda: messages.reason)
    on_dla = options.dla_core is not None
    flags = versions.precision_flags(trt, precision, on_dla=on_dla)
    network = read_network(trt, flavour, builder, graph, messages, on_dla=on_dla)
    config = builder.create_builder_config()
    for flag in flags:
        config.set_flag(flag)
    _configure(trt, config, options)
    _use_accelerator(trt, builder, config, options)
    _add_profiles(trt, builder, config, network, options)
    if (watch := monitor(trt, report)) is not None:
        config.progress_monitor = watch
    remembered = (
        timing_cache.cache_file(flavour.backend, trt.__version__, gpu) if gpu and options.timing_cache else None
    )
    known = timing_cache.attached(config, remembered) if remembered else None
    plan = possibly(builder.build_serialized_network(network.definition, config))
    if plan is None:
        raise InputError(
            f"{flavour.title} {trt.__version__} cannot build {graph} in {precision}: {messages.reason}; change the "
            f"options of build.{flavour.backend}, or use another precision or backend"
        )
    if remembered and known is not None:
        timing_cache.keep(config, remembered)
    return Plan(bytes(plan), messages)


def _configure(trt: Bindings, config: tensorrt.IBuilderConfig, options: AnyOptions) -> None:
    flag, verbosity = trt.BuilderFlag, trt.ProfilingVerbosity
    for needed in versions.flags_for_capture(trt):
        config.set_flag(needed)
    for wanted, switch in (
        (options.tf32, flag.TF32),  # on by default everywhere, so it is cleared where it is not wanted
        (options.sparsity, flag.SPARSE_WEIGHTS),
        (options.version_compatible, flag.VERSION_COMPATIBLE),
    ):
        (config.set_flag if wanted else config.clear_flag)(switch)
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.max_aux_streams is not None:
        config.max_aux_streams = options.max_aux_streams
    config.profiling_verbosity = verbosity.DETAILED if options.detailed else verbosity.LAYER_NAMES_ONLY
    if options.hardware_compatibility != "none":
        name = options.hardware_compatibility.upper()
        level = getattr(trt.HardwareCompatibilityLevel, name, None)
        if level is None:
            raise InputError(
                f"TensorRT {trt.__version__} has no hardware_compatibility {options.hardware_compatibility}: choose "
                "none or ampere_plus"
            )
        config.hardware_compatibility_level = level
    versions.restrict_targets(trt, config, options.compute_capabilities)


def _use_accelerator(
    trt: Bindings, builder: tensorrt.Builder, config: tensorrt.IBuilderConfig, options: AnyOptions
) -> None:
    if options.dla_core is None:
        return
    if options.dla_core >= builder.num_DLA_cores:
        raise InputError(
            f"dla_core {options.dla_core} is not on this machine, which has {builder.num_DLA_cores} DLA cores: leave "
            "dla_core out to use the GPU"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla_core
    if options.gpu_fallback:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _add_profiles(
    trt: Bindings,
    builder: tensorrt.Builder,
    config: tensorrt.IBuilderConfig,
    network: Network,
    options: AnyOptions,
) -> None:
    for batches in options.profiles:
        profile = builder.create_optimization_profile()
        smallest, tuned, largest = (trt.Dims([batch, *network.image_shape]) for batch in batches)
        profile.set_shape(network.image_input, smallest, tuned, largest)
        if config.add_optimization_profile(profile) < 0:
            raise InputError(f"the optimisation profile {list(batches)} is refused: choose other batch sizes")
