from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.graphs.typed import typed
from engines.cuda.implementations import implementations
from tests.engines.cuda.simulated_driver import run_pytest
from tests.engines.tensorrt.simulated import VERSIONS, module
from tests.engines.tensorrt.simulated_session import Session, run
from tests.engines.tiny_graphs import CLASSES, SHAPE, classifier, pixels, reference

pytestmark = pytest.mark.core

STRONG = VERSIONS[1:]


# ---- building ----


def test_a_dynamic_input_needs_a_profile_that_fits(trt: Any) -> None:
    session = Session(trt)
    network, _, _ = session.parsed(classifier())
    without = session.builder.create_builder_config()
    for config in (without, session.config(other=SHAPE), session.config(images=(3, 6, 7))):
        assert session.builder.build_serialized_network(network, config) is None
    assert [("no optimization profile" in text, "missing" in text, "mismatch" in text) for text in session.errors] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    falling = session.builder.create_optimization_profile()
    falling.set_shape("images", (4, *SHAPE), (2, *SHAPE), (8, *SHAPE))
    assert without.add_optimization_profile(falling) == -1


@pytest.mark.parametrize("version", VERSIONS[1:4])
@pytest.mark.parametrize("flag", ["FP16", "INT8"])
def test_a_strongly_typed_network_takes_no_precision_flags(version: str, flag: str) -> None:
    session = Session(module(version))
    assert session.built(classifier(), flag) is None
    assert f"k{flag}" in session.errors[0]


def test_version_8_needs_the_precision_flags() -> None:
    session = Session(module("8.6.1"))
    half = typed(classifier(), "fp16", {}).model
    assert session.built(classifier(quantized=True)) is None
    assert session.built(half) is None
    assert ["kINT8" in session.errors[0], "kFP16" in session.errors[1]] == [True, True]
    assert session.built(classifier(quantized=True), "INT8") is not None
    assert session.built(half, "FP16") is not None


@pytest.mark.parametrize("version", STRONG)
def test_a_progress_monitor_hears_of_the_build_and_can_end_it(version: str) -> None:
    trt: Any = module(version)
    heard: list[tuple[Any, ...]] = []

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self, last: int) -> None:
            trt.IProgressMonitor.__init__(self)
            self.last = last

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            heard.append(("start", phase, parent, steps))

        def step_complete(self, phase: str, step: int) -> bool:
            heard.append(("step", phase, step))
            return len(heard) < self.last

        def phase_finish(self, phase: str) -> None:
            heard.append(("finish", phase))

    session = Session(trt)
    assert session.built(classifier(), progress_monitor=Monitor(1000)) is not None
    started = [each[1] for each in heard if each[0] == "start"]
    assert heard[0] == ("start", "Building engine", None, 3)
    assert heard[-1] == ("finish", "Building engine")
    assert len(started) == len(set(started)) > 2
    heard.clear()
    assert session.built(classifier(), progress_monitor=Monitor(3)) is None
    assert "canceled" in session.errors[-1]
    assert [each[0] for each in heard].count("start") == [each[0] for each in heard].count("finish")


def test_a_timing_cache_holds_for_one_version_and_gpu(trt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(trt)
    network, _, _ = session.parsed(classifier())
    config = session.config()
    assert config.get_timing_cache() is None
    assert config.set_timing_cache(config.create_timing_cache(b""), False)
    empty = bytes(config.get_timing_cache().serialize())
    assert session.builder.build_serialized_network(network, config) is not None
    full = bytes(config.get_timing_cache().serialize())
    assert len(full) > len(empty)
    assert config.set_timing_cache(config.create_timing_cache(full), False)
    assert config.set_timing_cache(config.create_timing_cache(b"garbage"), False)
    other: Any = module("10.3.0" if trt is not module("10.3.0") else "11.4.0")
    elsewhere = Session(other).config()
    assert not elsewhere.set_timing_cache(elsewhere.create_timing_cache(full), False)
    monkeypatch.setenv("SIMULATED_COMPUTE_CAPABILITY", "7.5")
    assert not config.set_timing_cache(config.create_timing_cache(full), False)
    assert config.set_timing_cache(config.create_timing_cache(full), True)


# ---- loading ----


def test_a_plan_of_another_version_is_not_loaded(trt: Any) -> None:
    other = Session(module("10.13.3" if trt is not module("10.13.3") else "10.16.1"))
    session = Session(trt)
    assert session.loaded(other.built(classifier())) is None
    assert "Version tag does not match" in session.errors[0]


def test_a_version_compatible_plan_is_loaded_when_host_code_is_allowed() -> None:
    plan = Session(module("10.3.0")).built(classifier(), "VERSION_COMPATIBLE")
    session = Session(module("10.13.3"))
    runtime = session.trt.Runtime(session.logger)
    assert runtime.deserialize_cuda_engine(plan) is None
    runtime.engine_host_code_allowed = True
    assert runtime.deserialize_cuda_engine(plan) is not None


def test_damaged_bytes_are_not_loaded(trt: Any) -> None:
    session = Session(trt)
    plan = bytes(session.built(classifier()))
    altered = bytearray(plan)
    altered[len(plan) // 2] ^= 1
    for data in (b"", b"garbage", plan[:-1], plan[: len(plan) // 2], bytes(altered)):
        assert session.loaded(data) is None
    assert len(session.errors) == 5
    assert session.loaded(plan) is not None


def test_a_plan_of_another_gpu_is_not_loaded(trt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(trt)
    plan = bytes(session.built(classifier()))
    monkeypatch.setenv("SIMULATED_COMPUTE_CAPABILITY", "7.5")
    assert session.loaded(plan) is None
    assert "incompatible device" in session.errors[0]


# ---- running ----


@pytest.mark.parametrize("kind", ["fp32", "int8", "fp16", "bf16"])
def test_a_graph_is_built_loaded_and_run(trt: Any, kind: str) -> None:
    session = Session(trt)
    model = classifier(quantized=kind == "int8")
    if kind in {"fp16", "bf16"}:
        model = typed(model, kind, {}).model  # type: ignore[arg-type]
    if kind == "bf16" and not session.is_strong:
        assert not session.parsed(model)[2]  # version 8 has no BF16
        return
    flags = {"int8": ["INT8"], "fp16": ["FP16"]}.get(kind, [])
    engine = session.loaded(session.built(model, *(flags if not session.is_strong else [])))
    assert [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)] == ["images", "scores"]
    assert engine.get_tensor_mode("images") == trt.TensorIOMode.INPUT
    assert engine.get_tensor_shape("scores") == (-1, CLASSES)
    assert [shape[0] for shape in engine.get_tensor_profile_shape("images", 0)] == [1, 1, 4]
    context = engine.create_execution_context()
    assert context.get_tensor_shape("scores") == (-1, CLASSES)
    tolerance = {"fp16": 1e-2, "bf16": 1e-1}.get(kind, 1e-5)
    for images in (pixels(3), pixels(1, seed=2)):
        expected = reference(classifier(quantized=kind == "int8"), images)
        scores = run(context, images)
        assert context.get_tensor_shape("scores") == scores.shape
        np.testing.assert_allclose(scores, expected, atol=tolerance * np.abs(expected).max())


def test_a_context_refuses_what_is_not_ready_or_out_of_the_profile(trt: Any) -> None:
    session = Session(trt)
    context = session.loaded(session.built(classifier())).create_execution_context()
    images = pixels(2)
    assert context.infer_shapes() == ["images"]
    assert not context.execute_async_v3(0)
    for shape in ((5, *SHAPE), (0, *SHAPE), (1, 3, 6, 7), (1, 2)):
        assert not context.set_input_shape("images", shape)
    assert not context.set_input_shape("scores", (1, CLASSES))
    assert context.set_input_shape("images", images.shape)
    assert not context.execute_async_v3(0)
    assert context.set_tensor_address("images", images.ctypes.data)
    assert not context.set_tensor_address("nope", images.ctypes.data)
    assert not context.execute_async_v3(0)
    assert context.set_optimization_profile_async(0, 0)
    with pytest.raises(RuntimeError, match="set optimization profile"):
        context.set_optimization_profile_async(1, 0)
    assert context.infer_shapes() == ["images"]
    assert len(session.errors) == 10


def test_before_10_a_profile_serves_one_context_at_a_time(trt: Any) -> None:
    session = Session(trt)
    engine = session.loaded(session.built(classifier()))
    first, second = engine.create_execution_context(), engine.create_execution_context()
    if trt.__version__.startswith("8."):
        with pytest.raises(RuntimeError, match="set optimization profile"):
            second.set_optimization_profile_async(0, 0)
        del first
    assert second.set_optimization_profile_async(0, 0)


def test_a_profiler_hears_every_layer_that_the_inspector_names(trt: Any) -> None:
    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, float] = {}

        def report_layer_time(self, layer: str, ms: float) -> None:
            self.times[layer] = ms

    session = Session(trt)
    engine = session.loaded(session.built(classifier()))
    context, profiler = engine.create_execution_context(), Profiler()
    context.profiler = profiler
    run(context, pixels(2))
    information = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    assert list(profiler.times) == json.loads(information)["Layers"]
    assert len(profiler.times) == engine.num_layers
    context.enqueue_emits_profile = False
    profiler.times.clear()
    run(context, pixels(2))
    assert not profiler.times
    assert context.report_to_profiler()
    assert profiler.times


@pytest.mark.parametrize("version", VERSIONS)
def test_the_inspector_speaks_the_version_s_format(version: str) -> None:
    session = Session(module(version))
    trt = session.trt
    flags = [] if session.is_strong else ["INT8"]
    plan = session.built(classifier(quantized=True), *flags, profiling_verbosity=trt.ProfilingVerbosity.DETAILED)
    inspector = session.loaded(plan).create_engine_inspector()
    found = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    layer = found["Layers"][1]
    assert "[ONNX Layer: " in layer["Metadata"]
    assert layer["Weights"] == {"Type": "Int8", "Count": 8 * 2 * 9}
    new = version in {"11.4.0", "rtx-1.7.1"}
    assert set(found) == {"Layers", "I/O Tensors" if new else "Bindings"}
    assert ({"Format", "Datatype"} if new else {"Format/Datatype"}) <= set(layer["Inputs"][0])


@pytest.mark.skipif(not implementations(), reason="needs pycuda or cuda-python")
def test_work_is_put_on_the_streams_of_the_simulated_driver(simulated_libcuda: Path) -> None:
    printed = run_pytest(simulated_libcuda, "tests/engines/tensorrt/simulated_stream_cases.py")
    assert f"{len(VERSIONS)} passed" in printed
