from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from calibration.graphs.half_operators import NEWEST_OPSET
from calibration.graphs.typed import TypedGraph, tensors, typed
from contracts.errors import InputError

pytestmark = pytest.mark.core

Array = npt.NDArray[np.float32]
DType = Literal["fp16", "bf16"]

HALF = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
RELATIVE_ERROR = {"fp16": 4e-3, "bf16": 4e-2}  # of the largest score
CLASSES = 5
SHAPE = (2, 6, 7)

node = helper.make_node


def _model(nodes: list[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    """Return a graph from `images` (batch, 2, 6, 7) to `scores` (batch, 5); constants are made float32 or int64."""
    stored = [
        numpy_helper.from_array(values.astype(np.float32) if values.dtype == np.float64 else values, name)
        for name, values in ((name, np.asarray(values)) for name, values in constants.items())
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *SHAPE])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _random(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, np.prod(shape[1:]) ** -0.5, shape)


def _head(tensor: str) -> list[onnx.NodeProto]:
    return [
        node("Flatten", [tensor], ["flat"], name="flatten"),
        node("Gemm", ["flat", "linear.weight", "linear.bias"], ["scores"], name="linear", transB=1),
    ]


def _linear(width: int = 8 * 42) -> dict[str, Any]:
    return {"linear.weight": _random(CLASSES, width, seed=1), "linear.bias": _random(CLASSES, seed=2)}


def _convolutional(**changed: Any) -> onnx.ModelProto:
    nodes = [
        node("Conv", ["images", "conv.weight", "conv.bias"], ["conv"], name="conv", pads=[1] * 4),
        node("Relu", ["conv"], ["relu"], name="relu"),
        node("MaxPool", ["relu"], ["pool"], name="pool", kernel_shape=[3, 3], pads=[1] * 4),
        *_head("pool"),
    ]
    constants = {"conv.weight": _random(8, 2, 3, 3), "conv.bias": _random(8), **_linear()}
    return _model(nodes, **{**constants, **changed})


def _residual() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["images", "stem"], ["stem.out"], name="stem", pads=[1] * 4),
        node("Conv", ["stem.out", "branch"], ["branch.out"], name="branch", pads=[1] * 4),
        node("Add", ["branch.out", "stem.out"], ["sum"], name="add"),
        *_head("sum"),
    ]
    return _model(nodes, stem=_random(8, 2, 3, 3), branch=_random(8, 8, 3, 3, seed=3), **_linear())


def _attention() -> onnx.ModelProto:
    """Tokens of the image's pixels, a decomposed attention, the batch size computed from the shape."""
    nodes = [
        node("Shape", ["images"], ["shape"], name="shape"),
        node("Gather", ["shape", "zero"], ["batch"], name="gather"),
        node("Concat", ["batch", "rest"], ["token.shape"], name="concat", axis=0),
        node("Reshape", ["images", "token.shape"], ["tokens"], name="reshape"),
        node("LayerNormalization", ["tokens", "gamma", "beta"], ["normed"], name="norm"),
        node("MatMul", ["normed", "to_query"], ["query"], name="query"),
        node("Transpose", ["normed"], ["key"], name="key", perm=[0, 2, 1]),
        node("MatMul", ["query", "key"], ["logits"], name="logits"),
        node("Softmax", ["logits"], ["weights"], name="softmax"),
        node("MatMul", ["weights", "normed"], ["mixed"], name="mix"),
        node("Pow", ["mixed", "two"], ["squares"], name="pow"),
        node("ReduceMean", ["squares", "one"], ["flat"], name="mean", keepdims=0),
        node("Gemm", ["flat", "linear.weight", "linear.bias"], ["scores"], name="linear", transB=1),
    ]
    integers = {"zero": np.array([0]), "rest": np.array([12, 7]), "one": np.array([1])}
    floats = {"gamma": np.ones(7), "beta": _random(7), "to_query": _random(7, 7), "two": np.array(2.0)}
    return _model(nodes, **integers, **floats, **_linear(7))


def _overflowing() -> onnx.ModelProto:
    """Values of about 1e6 between two scales that cancel."""
    nodes = [
        node("Conv", ["images", "conv.weight"], ["conv"], name="conv", pads=[1] * 4),
        node("Mul", ["conv", "up"], ["large"], name="up"),
        node("Relu", ["large"], ["relu"], name="relu"),
        node("Mul", ["relu", "down"], ["small"], name="down"),
        *_head("small"),
    ]
    scales = {"up": np.array(1e4), "down": np.array(1e-4)}
    return _model(nodes, **{"conv.weight": 100 * _random(8, 2, 3, 3)}, **scales, **_linear())


def _images(batch: int = 3) -> Array:
    return np.random.default_rng(7).random((batch, *SHAPE), np.float32)


def _run(model: onnx.ModelProto, images: Array) -> Array:
    """Run in ONNX Runtime; in onnx's reference where the graph is BF16, for which that has no CPU kernels."""
    if any(tensor.data_type == TensorProto.BFLOAT16 for tensor in model.graph.initializer):
        results: Any = ReferenceEvaluator(model).run(None, {"images": images})
    else:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        results = session.run(None, {"images": images})
    assert results[0].dtype == np.float32
    return np.asarray(results[0])


def _peaks(model: onnx.ModelProto) -> dict[str, float]:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = tensors(model)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names[1:])
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    values = [_images(), *session.run(None, {"images": _images()})]
    return {name: float(np.abs(value).max()) for name, value in zip(names, values, strict=True)}


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return {**types, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


def _nodes(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {entry.name: entry for entry in model.graph.node}


def _require_sound(graph: TypedGraph) -> None:
    """Hold the rules of every typed graph: valid, float32 outside, Casts neither doubled nor back to back."""
    model = graph.model
    onnx.checker.check_model(model, full_check=True)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    casts = [entry for entry in model.graph.node if entry.op_type == "Cast"]
    cast_outputs = {entry.output[0] for entry in casts}
    assert not [entry.name for entry in casts if entry.input[0] in cast_outputs]
    assert max(Counter((entry.input[0], entry.attribute[0].i) for entry in casts).values(), default=1) == 1
    read = {name for entry in model.graph.node for name in entry.input} | {value.name for value in model.graph.output}
    assert cast_outputs <= read
    assert {tensor.name for tensor in model.graph.initializer} <= read


MODELS = {"convolutional": _convolutional, "residual": _residual, "attention": _attention}


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_typed_graph_computes_the_same_in_half_precision(name: str, dtype: DType) -> None:
    model = MODELS[name]()
    graph = typed(model, dtype, _peaks(model))
    assert graph.kept_float == ()
    _require_sound(graph)
    constants = [tensor.data_type for tensor in graph.model.graph.initializer]
    assert set(constants) <= {HALF[dtype], TensorProto.INT64}
    assert HALF[dtype] in constants
    casts = [entry for entry in graph.model.graph.node if entry.op_type == "Cast"]
    assert [(entry.input[0], entry.output[0]) for entry in casts] == [
        ("images", f"images_{dtype}"),
        (f"scores_{dtype}", "scores"),
    ]
    expected = _run(model, _images())
    error = np.abs(_run(graph.model, _images()) - expected).max() / np.abs(expected).max()
    assert 0 < error < RELATIVE_ERROR[dtype]


def test_the_opset_rises_where_the_operators_need_it_and_only_there() -> None:
    def opset(model: onnx.ModelProto) -> int:
        return int(model.opset_import[0].version)

    assert opset(typed(_convolutional(), "fp16", {}).model) == 18
    assert opset(typed(_convolutional(), "bf16", {}).model) == NEWEST_OPSET
    assert opset(typed(_attention(), "bf16", {}).model) == 18


def test_what_exceeds_the_range_stays_float_and_the_scores_stay_finite() -> None:
    model = _overflowing()
    peaks = _peaks(model)
    naive = typed(model, "fp16", {})
    assert not np.isfinite(_run(naive.model, _images())).all()

    graph = typed(model, "fp16", peaks)
    _require_sound(graph)
    assert [name for name, _ in graph.kept_float] == ["up", "relu", "down"]
    assert all("reaches" in reason and "fp16" in reason for _, reason in graph.kept_float)
    expected = _run(model, _images())
    np.testing.assert_allclose(_run(graph.model, _images()), expected, atol=4e-3 * np.abs(expected).max())
    types = _element_types(graph.model)
    assert types["large"] == types["up"] == types["down"] == TensorProto.FLOAT
    assert types["conv"] == types["small_fp16"] == types["linear.weight"] == TensorProto.FLOAT16


def test_bf16_has_the_range_that_fp16_lacks() -> None:
    model = _overflowing()
    graph = typed(model, "bf16", _peaks(model))
    assert graph.kept_float == ()
    assert np.isfinite(_run(graph.model, _images())).all()


@pytest.mark.parametrize(("peak", "kept"), [(32752.0, False), (32753.0, True), (np.inf, True), (np.nan, True)])
def test_a_peak_beyond_half_of_the_range_keeps_its_nodes_float(peak: float, kept: bool) -> None:
    graph = typed(_convolutional(), "fp16", {"conv": peak})
    assert [name for name, _ in graph.kept_float] == (["conv", "relu"] if kept else [])


@pytest.mark.parametrize(
    ("dtype", "value", "reason"),
    [
        ("fp16", 7e4, "infinite in fp16"),
        ("fp16", float(np.finfo(np.float32).min), "infinite in fp16"),
        ("bf16", float(np.finfo(np.float32).min), "infinite in bf16"),
        ("bf16", 7e4, None),
        ("fp16", -np.inf, None),
        ("fp16", 1e-12, "zero in fp16"),
        ("bf16", 1e-12, None),
        ("fp16", 1e-5, None),
    ],
)
def test_a_constant_that_is_lost_in_half_keeps_its_node_float(dtype: DType, value: float, reason: str | None) -> None:
    nodes = [node("Add", ["images", "shift"], ["moved"], name="add"), *_head("moved")]
    graph = typed(_model(nodes, shift=np.array(value), **_linear(84)), dtype, {})
    _require_sound(graph)
    assert [name for name, _ in graph.kept_float] == (["add"] if reason else [])
    assert all(reason and reason in told for _, told in graph.kept_float)


def test_a_weight_beyond_the_range_keeps_its_convolution_float_and_correct() -> None:
    weight = 1e-3 * _random(8, 2, 3, 3)
    weight[0, 0, 0, 0] = 7e4
    linear = _linear()["linear.weight"] * 1e-3
    model = _convolutional(**{"conv.weight": weight, "linear.weight": linear})
    graph = typed(model, "fp16", {})
    assert [name for name, _ in graph.kept_float] == ["conv"]
    assert _element_types(graph.model)["conv.weight"] == TensorProto.FLOAT


def test_single_weights_that_vanish_among_others_do_not_keep_a_layer_float() -> None:
    weight = _random(8, 2, 3, 3)
    weight[0] = 1e-12
    assert typed(_convolutional(**{"conv.weight": weight}), "fp16", {}).kept_float == ()


def test_a_divisor_must_be_a_normal_number_in_every_element() -> None:
    nodes = [node("Div", ["images", "by"], ["parts"], name="div"), *_head("parts")]
    graph = typed(_model(nodes, by=np.array([1.0, 1e-5]).reshape(2, 1, 1), **_linear(84)), "fp16", {})
    assert graph.kept_float == (("div", "the constant by holds 1e-05, below the normal numbers of fp16"),)


def test_a_constant_read_in_both_types_is_stored_in_both() -> None:
    nodes = [
        node("Mul", ["images", "factor"], ["first"], name="first"),
        node("Mul", ["first", "factor"], ["second"], name="second"),
        *_head("second"),
    ]
    model = _model(nodes, factor=np.array(300.0), **_linear(84))
    graph = typed(model, "fp16", {"second": 9e4})
    _require_sound(graph)
    assert [name for name, _ in graph.kept_float] == ["second", "flatten"]
    types = _element_types(graph.model)
    assert (types["factor"], types["factor_fp16"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)
    assert list(_nodes(graph.model)["first"].input) == ["images_fp16", "factor_fp16"]
    assert list(_nodes(graph.model)["second"].input) == ["first_fp32", "factor"]


def test_operators_of_mixed_types_turn_only_where_their_schema_allows() -> None:
    nodes = [
        node("Resize", ["images", "", "scales"], ["larger"], name="resize", mode="nearest"),
        node("Range", ["start", "limit", "delta"], ["range"], name="range"),
        node("Reshape", ["range", "column"], ["ramp"], name="reshape"),
        node("Add", ["larger", "ramp"], ["sum"], name="add"),
        node("Greater", ["sum", "start"], ["positive"], name="greater"),
        node("Cast", ["positive"], ["mask"], name="cast", to=TensorProto.FLOAT),
        node("Cast", ["mask"], ["same"], name="identity", to=TensorProto.FLOAT),
        node("Shape", ["same"], ["shape"], name="shape"),
        node("ConstantOfShape", ["shape"], ["filled"], name="fill", value=helper.make_tensor("", 1, [1], [2.0])),
        node("Mul", ["same", "filled"], ["product"], name="mul"),
        *_head("product"),
    ]
    floats = {"scales": np.array([1, 1, 2, 2.0]), "start": np.array(0.0), "limit": np.array(12.0)}
    column = np.array([12, 1], np.int64)
    model = _model(nodes, column=column, delta=np.array(1.0), **floats, **_linear(2 * 12 * 14))
    graph = typed(model, "fp16", {})
    _require_sound(graph)
    assert graph.kept_float == (("range", "Range has no fp16 form at opset 18"),)
    types = _element_types(graph.model)
    assert types["scales"] == types["start"] == types["limit"] == TensorProto.FLOAT
    assert types["larger"] == types["mask"] == types["filled"] == types["start_fp16"] == TensorProto.FLOAT16
    np.testing.assert_allclose(_run(graph.model, _images()), _run(model, _images()), atol=4e-2)


def test_constants_may_be_nodes_and_nodes_may_be_nameless() -> None:
    nodes = [
        node("Constant", [], ["factor"], value_float=7e4),
        node("Mul", ["images", "factor"], ["product"]),
        *_head("product"),
    ]
    model = _model(nodes, **_linear(84))
    graph = typed(model, "fp16", {})
    assert [name for name, _ in graph.kept_float] == ["product"]
    assert tensors(model) == ("images", "product", "flat", "scores")


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_quantized_layers_take_and_give_half(dtype: DType) -> None:
    nodes = [
        node("QuantizeLinear", ["images", "scale", "zero"], ["images.q"], name="quantize"),
        node("DequantizeLinear", ["images.q", "scale", "zero"], ["images.dq"], name="dequantize"),
        node("DequantizeLinear", ["weight", "tiny", "zeros"], ["weight.dq"], name="weight", axis=0),
        node("Conv", ["images.dq", "weight.dq"], ["conv"], name="conv", pads=[1] * 4),
        *_head("conv"),
    ]
    weight = np.random.default_rng(0).integers(-127, 128, (8, 2, 3, 3)).astype(np.int8)
    integers = {"zero": np.array(0, np.int8), "weight": weight, "zeros": np.zeros(8, np.int8)}
    scales = {"scale": np.array(1 / 127), "tiny": np.full(8, 1e-3)}
    graph = typed(_model(nodes, **integers, **scales, **_linear()), dtype, {})
    _require_sound(graph)
    assert graph.kept_float == ()
    types = _element_types(graph.model)
    assert types["images.dq"] == types["weight.dq"] == types["scale"] == HALF[dtype]
    assert types["images.q"] == types["weight"] == TensorProto.INT8

    scales["tiny"] = np.full(8, 1e-6)
    graph = typed(_model(nodes, **integers, **scales, **_linear()), "fp16", {})
    _require_sound(graph)
    assert [name for name, _ in graph.kept_float] == ["weight"]


def test_the_float_graph_is_not_changed_and_nothing_half_means_the_same_graph() -> None:
    model = _convolutional()
    before = model.SerializeToString()
    typed(model, "bf16", {})
    assert model.SerializeToString() == before
    graph = typed(model, "bf16", dict.fromkeys(tensors(model), np.inf))
    assert graph.model == model
    assert [name for name, _ in graph.kept_float] == ["conv", "relu", "pool", "flatten", "linear"]


def test_a_typed_graph_or_control_flow_is_refused() -> None:
    with pytest.raises(InputError, match="in half precision already"):
        typed(typed(_convolutional(), "fp16", {}).model, "fp16", {})
    branch = helper.make_graph(
        [node("Relu", ["images"], ["out"])], "b", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    )
    choice = node("If", ["yes"], ["chosen"], name="choice", then_branch=branch, else_branch=branch)
    with pytest.raises(InputError, match="'choice'"):
        typed(_model([choice, *_head("chosen")], yes=np.array(True), **_linear(84)), "fp16", {})


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, float]]:
    """Return a chain with skips over random operators, and random peaks."""
    made = ["images"]
    nodes = []
    for index in range(draw(st.integers(1, 7))):
        operator = draw(st.sampled_from(["Relu", "Add", "Mul", "Cast", "HardSigmoid"]))
        count = 2 if operator in ("Add", "Mul") else 1
        read = [draw(st.sampled_from([*made, "factor"][-4:])) for _ in range(count)]
        attributes: dict[str, Any] = {"to": TensorProto.FLOAT} if operator == "Cast" else {}
        made.append(f"t{index}")
        nodes.append(node(operator, read, made[-1:], name=made[-1], **attributes))
    nodes += [
        node("Mul", [made[-1], "factor"], ["scaled"], name="scaled"),
        node("Add", ["scaled", "images"], ["last"], name="last"),
        *_head("last"),
    ]
    peaks = {name: draw(st.sampled_from([1.0, 1e5])) for name in (*made, "scaled", "last", "scores")}
    return _model(nodes, factor=np.array(0.5), **_linear(84)), peaks


@settings(max_examples=40, deadline=None)
@given(_graphs(), st.sampled_from(["fp16", "bf16"]))
def test_every_typed_graph_is_sound_and_holds_no_large_tensor_in_half(
    case: tuple[onnx.ModelProto, dict[str, float]], dtype: DType
) -> None:
    model, peaks = case
    graph = typed(model, dtype, peaks)
    if graph.model == model:
        assert len(graph.kept_float) == len(model.graph.node)
        return
    _require_sound(graph)
    types = _element_types(graph.model)
    for name, peak in peaks.items():
        if dtype == "fp16" and peak > 65504:
            assert types.get(name, TensorProto.FLOAT) == TensorProto.FLOAT
            assert f"{name}_fp16" not in types
    if dtype == "fp16":
        expected = _run(model, _images())
        tolerance = 1e-2 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(_run(graph.model, _images()), expected, atol=tolerance)


def _bf16_refused() -> onnx.ModelProto:
    """Operators that the schema allows in BF16 and TensorRT refuses."""
    nodes = [
        node("ConvTranspose", ["images", "weight"], ["larger"], name="transposed", pads=[1] * 4),
        node("HardSwish", ["larger"], ["swish"], name="swish"),
        *_head("swish"),
    ]
    return _model(nodes, weight=_random(2, 2, 3, 3), **_linear(84))


def test_what_tensorrt_refuses_in_bf16_stays_float_in_bf16_alone() -> None:
    model = _bf16_refused()
    assert typed(model, "fp16", {}).kept_float == ()
    graph = typed(model, "bf16", {})
    assert graph.kept_float == (
        ("transposed", "TensorRT does not build ConvTranspose in bf16"),
        ("swish", "TensorRT does not build HardSwish in bf16"),
    )
    assert graph.model.opset_import[0].version == 18


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", [*MODELS, "overflowing", "refused"])
def test_tensorrt_rtx_builds_an_engine(name: str, dtype: DType) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    model = {**MODELS, "overflowing": _overflowing, "refused": _bf16_refused}[name]()
    graph = typed(model, dtype, _peaks(model))
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(graph.model.SerializeToString()), [
        str(parser.get_error(index)) for index in range(parser.num_errors)
    ]
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, *SHAPE), (2, *SHAPE), (4, *SHAPE))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
    assert network.get_input(0).dtype == network.get_output(0).dtype == trt.float32
