"""What differs between TensorRT's versions, each difference in one function; asked of the names that are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError
from engines.backend import Precision
from engines.tensorrt.flavour import Bindings

if TYPE_CHECKING:
    import tensorrt

_PRECISION_FLAGS = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}


def network_flags(trt: Bindings, *, on_dla: bool = False) -> int:
    """Return the flags of a network whose graph alone decides its precisions.

    From 10 on that is strong typing, whose bit moved from 1 to 0 in 11. Version 8 has none; it must be told that the
    batch is a dimension of the graph.
    """
    flags: Any = trt.NetworkDefinitionCreationFlag
    name = "STRONGLY_TYPED" if is_strongly_typed(trt, on_dla=on_dla) else "EXPLICIT_BATCH"
    return 1 << int(getattr(flags, name)) if hasattr(flags, name) else 0  # what is gone goes without saying


def is_strongly_typed(trt: Bindings, *, on_dla: bool = False) -> bool:
    """Say whether a network takes its precisions from the graph's types.

    A deep-learning accelerator takes strongly typed networks from 11 on only, where no precision flags are left.
    """
    flags: Any = trt.NetworkDefinitionCreationFlag
    typed = hasattr(flags, "STRONGLY_TYPED") or not _has_precision_flags(trt)
    return typed and not (on_dla and _has_precision_flags(trt))


def precision_flags(trt: Bindings, precision: Precision, *, on_dla: bool = False) -> tuple[tensorrt.BuilderFlag, ...]:
    """Return the builder's flags without which a network that is not strongly typed runs in FP32.

    Raises:
        InputError: this version, or its accelerator, cannot compute in that precision.
    """
    if on_dla and _has_precision_flags(trt) and precision != "fp16":
        raise InputError(
            f"a DLA core takes typed graphs in fp16 alone with TensorRT {trt.__version__}, Q/DQ only from 11 on: "
            f"build fp16, or leave dla_core out to build {precision} for the GPU"
        )
    if is_strongly_typed(trt, on_dla=on_dla) or precision not in _PRECISION_FLAGS:
        return ()
    flag = getattr(trt.BuilderFlag, _PRECISION_FLAGS[precision], None)
    if flag is None:
        raise InputError(f"TensorRT {trt.__version__} has no {precision}: build fp16, or use TensorRT 10 or newer")
    return (flag,)


def _has_precision_flags(trt: Bindings) -> bool:
    return hasattr(trt.BuilderFlag, "FP16")


def parser_errors(parser: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the ONNX parser's errors as (node, operator, description); version 8 tells the node's number alone."""
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        named = hasattr(error, "node_name")
        name = error.node_name() if named else ""
        operator = error.node_operator() if named else ""
        yield name or f"number {error.node()}", operator, error.desc()


def flags_for_capture(trt: Bindings) -> tuple[tensorrt.BuilderFlag, ...]:
    """Return the builder's flags without which an engine's work cannot be captured in a CUDA graph: TensorRT-RTX's."""
    flag = getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)
    return () if flag is None else (flag,)


def new_context(trt: Bindings, engine: Any) -> tuple[Any, Any]:
    """Return an execution context, or None where there is no memory for it, and what it must not outlive.

    From 10 on its memory follows the profile that it is set to, not the largest of all. TensorRT-RTX would run other
    kernels at first, until those for the shapes at hand are compiled; it is told to compile them at once.
    """
    strategies: Any = getattr(trt, "ExecutionContextAllocationStrategy", None)
    if strategies is None:
        return engine.create_execution_context(), None
    specialization: Any = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if specialization is None:
        return engine.create_execution_context(strategies.ON_PROFILE_CHANGE), None
    config = engine.create_runtime_config()
    config.dynamic_shapes_kernel_specialization_strategy = specialization.EAGER
    config.set_execution_context_allocation_strategy(strategies.ON_PROFILE_CHANGE)
    return engine.create_execution_context(runtime_config=config), config


def can_capture(context: Any, stream: int) -> bool:
    """Say whether a context's work on a stream can be captured; only TensorRT-RTX is asked, the others can."""
    return not hasattr(context, "is_stream_capturable") or bool(context.is_stream_capturable(stream))


def progress_base(trt: Bindings) -> type[Any] | None:
    """Return the class of progress monitors; None in version 8."""
    found: type[Any] | None = getattr(trt, "IProgressMonitor", None)
    return found


def prepare_plugins(trt: Bindings, logger: Any) -> None:
    """Register the plugins that ONNX nodes may become; TensorRT-RTX has none."""
    register = getattr(trt, "init_libnvinfer_plugins", None)
    if register is not None:
        register(logger, "")


def restrict_targets(trt: Bindings, config: Any, names: tuple[str, ...]) -> None:
    """Name the compute capabilities that TensorRT-RTX compiles for; TensorRT compiles for the GPU that is here.

    Raises:
        InputError: an unknown compute capability.
    """
    if not names:
        return
    known: Any = getattr(trt, "ComputeCapability", None)
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        wanted = f"SM{name.replace('.', '')}"
        if wanted not in known.__members__:
            has = ", ".join(f"{each[2:-1]}.{each[-1]}" for each in known.__members__ if each.startswith("SM"))
            raise InputError(f"{trt.__version__} of TensorRT-RTX has no compute capability {name!r}: it has {has}")
        config.set_compute_capability(known.__members__[wanted], index)
