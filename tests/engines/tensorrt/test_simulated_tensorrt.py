from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from calibration.graphs.typed import typed
from engines.cuda.implementations import implementations
from tests.engines.cuda.simulated_driver import run_pytest
from tests.engines.tensorrt.simulated import VERSIONS, install, module
from tests.engines.tiny_graphs import CLASSES, SHAPE, classifier, graph, pixels, reference

pytestmark = pytest.mark.core

STRONG = VERSIONS[1:]
Array = npt.NDArray[Any]


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> Iterator[Any]:
    with install(request.param) as made:
        yield made


class Session:
    """A logger that keeps errors, a builder, and the shortest way through the API."""

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.said: list[tuple[str, str]] = []
        said = self.said

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                said.append((severity.name, message))

        self.logger = Logger()
        self.builder = trt.Builder(self.logger)

    @property
    def errors(self) -> list[str]:
        return [text for severity, text in self.said if severity == "ERROR"]

    @property
    def is_strong(self) -> bool:
        return hasattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    def flags(self) -> int:
        creation = self.trt.NetworkDefinitionCreationFlag
        return 1 << int(creation.STRONGLY_TYPED if self.is_strong else creation.EXPLICIT_BATCH)

    def parsed(self, model: onnx.ModelProto, flags: int | None = None) -> tuple[Any, Any, bool]:
        network = self.builder.create_network(self.flags() if flags is None else flags)
        parser = self.trt.OnnxParser(network, self.logger)
        return network, parser, parser.parse(model.SerializeToString())

    def config(self, largest: int = 4, **shapes: Any) -> Any:
        config = self.builder.create_builder_config()
        profile = self.builder.create_optimization_profile()
        for name, shape in (shapes or {"images": SHAPE}).items():
            profile.set_shape(name, (1, *shape), (1, *shape), (largest, *shape))
        assert config.add_optimization_profile(profile) == 0
        return config

    def built(self, model: onnx.ModelProto, *flags: str, **options: Any) -> Any:
        network, parser, parsed = self.parsed(model)
        assert parsed, parser.get_error(0).desc()
        config = self.config()
        for flag in flags:
            config.set_flag(getattr(self.trt.BuilderFlag, flag))
        for name, value in options.items():
            setattr(config, name, value)
        return self.builder.build_serialized_network(network, config)

    def loaded(self, plan: Any) -> Any:
        return self.trt.Runtime(self.logger).deserialize_cuda_engine(plan)


def run(context: Any, images: Array, output: str = "scores") -> Array:
    scores = np.full((len(images), CLASSES), np.nan, np.float32)
    assert context.set_input_shape("images", images.shape)
    assert context.set_tensor_address("images", images.ctypes.data)
    assert context.set_tensor_address(output, scores.ctypes.data)
    assert context.execute_async_v3(0)
    return scores


# ---- names and signatures ----


@pytest.mark.parametrize("version", VERSIONS)
def test_install_puts_the_module_under_its_import_name_and_takes_it_away(version: str) -> None:
    name = "tensorrt_rtx" if version.startswith("rtx") else "tensorrt"
    before = sys.modules.get(name)
    with install(version) as made:
        assert importlib.import_module(name) is made
        assert made.__simulated__
        assert made.__version__.startswith(version.removeprefix("rtx-"))
    assert sys.modules.get(name) is before


def test_a_name_that_was_not_recorded_is_an_attribute_error(trt: Any) -> None:
    session = Session(trt)
    config = session.builder.create_builder_config()
    for owner in (trt, trt.BuilderFlag, trt.Builder, config):
        assert not hasattr(owner, "no_such_name")
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        config.no_such_name = 1
    with pytest.raises(AttributeError):
        config.num_optimization_profiles = 1  # readable alone


def test_the_versions_differ_as_the_real_ones_do() -> None:
    assert not hasattr(module("11.4.0").BuilderFlag, "INT8")
    assert not hasattr(module("8.6.1").NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    assert not hasattr(module("8.6.1"), "IProgressMonitor")
    with pytest.raises(AttributeError):
        Session(module("8.6.1")).builder.create_builder_config().progress_monitor = None
    assert not hasattr(module("11.4.0").ICudaEngine, "device_memory_size")
    assert not hasattr(module("8.6.1").ParserError, "node_name")


def test_a_recorded_name_without_behaviour_says_so(trt: Any) -> None:
    network = Session(trt).builder.create_network(Session(trt).flags())
    with pytest.raises(NotImplementedError, match=r"INetworkDefinition\.add_identity"):
        network.add_identity(None)
    with pytest.raises(NotImplementedError, match="Refitter"):
        trt.Refitter()


def test_calls_are_held_against_the_recorded_signatures(trt: Any) -> None:
    session = Session(trt)
    network, config = session.builder.create_network(session.flags()), session.builder.create_builder_config()
    calls: tuple[Callable[[], object], ...] = (
        lambda: session.builder.build_serialized_network(net=network, config=config),
        lambda: session.builder.build_serialized_network(network),
        lambda: session.builder.create_network("0"),
        lambda: session.builder.create_network(0, 1),
        lambda: config.set_flag(6),
        lambda: config.set_timing_cache(None, False),
        lambda: trt.Builder(None),
        trt.Builder,
    )
    for wrong in calls:
        with pytest.raises(TypeError, match="incompatible function arguments"):
            wrong()
    with pytest.raises(TypeError):
        config.profiling_verbosity = 2
    for made_by_tensorrt in (trt.ICudaEngine, trt.INetworkDefinition):
        with pytest.raises(TypeError, match="No constructor defined"):
            made_by_tensorrt()


def test_a_subclass_must_call_the_base_constructor(trt: Any) -> None:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            self.own = 1

    with pytest.raises(TypeError, match="must be called when overriding __init__"):
        Logger()


def test_enums_are_no_integers(trt: Any) -> None:
    flag = trt.BuilderFlag.TF32
    assert flag != int(flag)
    assert trt.BuilderFlag(int(flag)) is flag
    assert (flag.name, str(flag)) == ("TF32", "BuilderFlag.TF32")
    with pytest.raises(TypeError):
        1 << flag


def test_shapes_and_host_memory_are_what_they_are_in_the_bindings(trt: Any) -> None:
    shape = trt.Dims((1, -1, 3))
    assert shape == (1, -1, 3)
    assert not isinstance(shape, tuple)
    assert (tuple(shape), len(shape), shape[1:]) == ((1, -1, 3), 3, (-1, 3))
    plan = Session(trt).built(classifier())
    assert plan.nbytes == len(bytes(plan)) == len(memoryview(plan))
    assert io.BytesIO().write(plan) == plan.nbytes
    with pytest.raises(TypeError):
        len(plan)
    with pytest.raises(AttributeError):
        plan.decode()


# ---- parsing ----


def test_creation_flags_of_another_version_are_refused(trt: Any) -> None:
    session = Session(trt)
    assert session.builder.create_network(1 << 6) is None
    assert "createNetworkV2" in session.errors[0]


def test_bit_one_is_strong_typing_in_10_and_something_else_in_11() -> None:
    strongly = "STRONGLY_TYPED"
    for version, bits in (("10.3.0", {0: False, 2: True}), ("11.4.0", {0: True, 2: True})):
        session = Session(module(version))
        flag = getattr(session.trt.NetworkDefinitionCreationFlag, strongly)
        assert {bit: session.builder.create_network(bit).get_flag(flag) for bit in bits} == bits


def test_version_8_parses_only_into_an_explicit_batch() -> None:
    session = Session(module("8.6.1"))
    _, parser, parsed = session.parsed(classifier(), 0)
    assert not parsed
    assert "EXPLICIT_BATCH" in parser.get_error(0).desc()


def test_what_is_parsed_can_be_read(trt: Any) -> None:
    network, _, parsed = Session(trt).parsed(classifier())
    assert parsed
    images, scores = network.get_input(0), network.get_output(0)
    assert (images.name, scores.name) == ("images", "scores")
    assert (images.shape, scores.shape) == ((-1, *SHAPE), (-1, CLASSES))
    assert images.dtype == trt.DataType.FLOAT == trt.float32
    assert network.get_input(1) is None
    assert [network.get_layer(i).type.name for i in range(network.num_layers)][:2] == ["CONVOLUTION", "ACTIVATION"]


def _graph_of(*nodes: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    return graph(list(nodes), constants, outputs={"scores": ["batch", *SHAPE]})


def _quantized(zero: Any) -> onnx.ModelProto:
    return _graph_of(
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"], name="into"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["scores"], name="back"),
        scale=np.float32(0.1),
        zero=zero,
    )


@pytest.mark.parametrize(
    ("model", "node", "operator", "text"),
    [
        (_graph_of(helper.make_node("Det", ["images"], ["scores"], name="it")), "it", "Det", "false"),
        (_graph_of(helper.make_node("Nope", ["images"], ["scores"], name="it")), "it", "Nope", "Plugin not found"),
        (_quantized(np.int8(3)), "into", "QuantizeLinear", "zero point"),
        (
            _graph_of(
                helper.make_node("DequantizeLinear", ["bias", "scale"], ["b"], name="it"),
                helper.make_node("Add", ["images", "b"], ["scores"]),
                bias=np.zeros(7, np.int32),
                scale=np.float32(0.1),
            ),
            "it",
            "DequantizeLinear",
            "Int32",
        ),
    ],
    ids=["unsupported", "unknown", "asymmetric", "int32-bias"],
)
def test_the_parser_names_the_node(trt: Any, model: onnx.ModelProto, node: str, operator: str, text: str) -> None:
    session = Session(trt)
    network, parser, parsed = session.parsed(model)
    assert not parsed
    error = parser.get_error(0)
    assert error.node() == 0
    assert parser.get_error(parser.num_errors) is None
    assert text in error.desc()
    if session.is_strong:
        assert (error.node_name(), error.node_operator()) == (node, operator)
    assert session.errors
    parser.clear_errors()
    assert parser.num_errors == 0
    assert session.builder.build_serialized_network(network, session.config()) is None


def test_a_uint8_zero_point_is_taken_for_int8(trt: Any) -> None:
    session = Session(trt)
    assert session.parsed(_quantized(np.uint8(0)))[2]
    assert any("UINT8" in text for severity, text in session.said if severity == "WARNING")


def test_garbage_is_not_parsed(trt: Any) -> None:
    session = Session(trt)
    network = session.builder.create_network(session.flags())
    parser = trt.OnnxParser(network, session.logger)
    assert not parser.parse(b"garbage")
    assert parser.get_error(0).code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED


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
    assert not context.set_optimization_profile_async(1, 0)
    assert context.infer_shapes() == ["images"]
    assert len(session.errors) == 10


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
