"""How long each layer of a TensorRT engine takes, told by its profiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING, Any

from engines.tensorrt.flavour import Bindings

if TYPE_CHECKING:
    import tensorrt


def layer_times_ms(
    trt: Bindings, context: tensorrt.IExecutionContext, run: Callable[[], object], runs: int
) -> Mapping[str, float]:
    """Return the median time of every layer in milliseconds, by its name and in the order in which they ran.

    A profiler slows inference down, and TensorRT documents no way to take one off. It is asked to, and the profiler
    stops listening, but measure no latency with that context afterwards. The bindings keep the profiler alive as long
    as the context.

    Args:
        trt: the module that the context comes from, `tensorrt` or `tensorrt_rtx`.
        context: one that is ready to run; `enqueue_emits_profile` is left on, its default.
        run: does one inference with the context and waits for it; not through a CUDA graph, which reports nothing.
        runs: how often to call it, at least 1. Let a few inferences precede, or the median must outvote the first.

    Returns:
        Nothing for a layer that took part in no inference. A layer that ran several times in an inference counts with
        their sum.
    """
    profiler = _profiler(trt)
    context.profiler = profiler
    try:
        for _ in range(runs):
            profiler.inferences.append({})
            run()
    finally:
        profiler.listening = False
        _detach(context)
    times: dict[str, list[float]] = {}
    for inference in profiler.inferences:
        for name, time_ms in inference.items():
            times.setdefault(name, []).append(time_ms)
    return {name: median(samples) for name, samples in times.items()}


class _Recorder:
    """What a profiler is told; nothing in it may raise, as TensorRT ends the process when a callback does."""

    def __init__(self) -> None:
        self.inferences: list[dict[str, float]] = []
        self.listening = True

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        if self.listening and self.inferences:
            inference = self.inferences[-1]
            inference[layer_name] = inference.get(layer_name, 0.0) + ms


def _profiler(trt: Bindings) -> Any:
    """Return a `_Recorder` that is an `IProfiler` of this module, a class that is known only once it is imported."""
    base: Any = trt.IProfiler

    class Profiler(_Recorder, base):  # type: ignore[misc]
        def __init__(self) -> None:
            _Recorder.__init__(self)
            base.__init__(self)  # the bindings refuse an object whose own constructor was not called

    return Profiler()


def _detach(context: tensorrt.IExecutionContext) -> None:
    nothing: Any = None  # the stubs name the profiler's class alone; the bindings take None for a null pointer
    with suppress(TypeError):
        context.profiler = nothing
