from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.engines.tensorrt.simulated import VERSIONS, install, module
from tests.engines.tensorrt.simulated_session import Session
from tests.engines.tiny_graphs import CLASSES, SHAPE, classifier, graph

pytestmark = pytest.mark.core


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
        lambda: session.builder.create_network(flags=0, more=1),
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
