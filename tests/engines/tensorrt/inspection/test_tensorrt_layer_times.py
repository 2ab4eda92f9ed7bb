"""Times by layer: the recorder through the real bindings' profiler class, with a simulated context that calls it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from engines.tensorrt.inspection.layer_times import layer_times_ms

pytestmark = pytest.mark.core


class SimulatedProfiler:
    """Stands for `IProfiler`: it can be called only after its own constructor ran."""

    def __init__(self) -> None:
        self.constructed = True

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


class SimulatedContext:
    """Stands for an execution context: an inference reports its layers through the base class, as C++ does."""

    def __init__(self, accepts_none: bool) -> None:
        self._attached: Any = None
        self._accepts_none = accepts_none

    @property
    def profiler(self) -> Any:
        return self._attached

    @profiler.setter
    def profiler(self, profiler: Any) -> None:
        if profiler is None and not self._accepts_none:
            raise TypeError("incompatible function arguments")
        self._attached = profiler

    def infer(self, times_ms: list[tuple[str, float]]) -> None:
        for name, time_ms in times_ms if self._attached is not None else ():
            self._attached.report_layer_time(name, time_ms)


def bindings(which: str) -> Any:
    if which == "real":
        return pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX's bindings are not installed")
    return SimpleNamespace(IProfiler=SimulatedProfiler)


def in_turn(context: SimulatedContext, *inferences: list[tuple[str, float]]) -> Callable[[], None]:
    rest = iter(inferences)
    return lambda: context.infer(next(rest))


@pytest.mark.parametrize("which", ["simulated", "real"])
@pytest.mark.parametrize("accepts_none", [True, False])
def test_every_layer_has_the_median_of_its_sums_in_the_order_of_the_run(which: str, accepts_none: bool) -> None:
    context: Any = SimulatedContext(accepts_none)
    run = in_turn(
        context,
        [("reformat", 9.0), ("conv", 90.0), ("conv", 1.0)],
        [("reformat", 1.0), ("conv", 2.0), ("conv", 2.0)],
        [("reformat", 2.0), ("conv", 3.0), ("conv", 3.0)],
    )
    times = layer_times_ms(bindings(which), context, run, 3)
    assert list(times.items()) == [("reformat", 2.0), ("conv", 6.0)]
    assert (context.profiler is None) == accepts_none


def test_a_profiler_that_cannot_be_taken_off_hears_nothing_more() -> None:
    context: Any = SimulatedContext(accepts_none=False)
    times = layer_times_ms(bindings("simulated"), context, in_turn(context, [("conv", 1.0)]), 1)
    context.infer([("conv", 5.0)])
    assert (dict(times), context.profiler.inferences) == ({"conv": 1.0}, [{"conv": 1.0}])


def test_an_inference_that_fails_leaves_no_profiler_behind() -> None:
    context: Any = SimulatedContext(accepts_none=True)
    with pytest.raises(StopIteration):
        layer_times_ms(bindings("simulated"), context, in_turn(context), 1)
    assert context.profiler is None


def test_the_real_bindings_call_the_recorder_through_their_own_class() -> None:
    trt = bindings("real")
    context: Any = SimpleNamespace(profiler=None)

    def run() -> None:
        trt.IProfiler.report_layer_time(context.profiler, "conv", 0.25)  # C++'s virtual call, not Python's look-up

    assert layer_times_ms(trt, context, run, 2) == {"conv": 0.25}
