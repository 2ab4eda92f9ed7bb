from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs.lint import RULES, Finding, lint, refuse_errors
from contracts.errors import InputError

pytestmark = pytest.mark.core

Model = onnx.ModelProto
Array = npt.NDArray[Any]
SCALE = np.float32(0.02)


class Drawing:
    """A graph in the making: a node's output has the node's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def pair(self, tensor: str) -> str:
        ends = [self.constant(f"{tensor}.s", SCALE), self.constant(f"{tensor}.z", np.int8(0))]
        self.node("QuantizeLinear", [tensor, *ends], f"{tensor}.q")
        return self.node("DequantizeLinear", [f"{tensor}.q", *ends], f"{tensor}.dq")

    def weight(self, layer: str, shape: tuple[int, ...], axis: int) -> str:
        integers = np.random.default_rng(0).integers(-127, 128, shape, np.int8)
        scales, zeros = np.full(shape[axis], SCALE), np.zeros(shape[axis], np.int8)
        parts = {"i": integers, "s": scales, "z": zeros}
        names = [self.constant(f"{layer}.w.{part}", value) for part, value in parts.items()]
        return self.node("DequantizeLinear", names, f"{layer}.w.dq", axis=axis)

    def model(self, channels: int = 3, scores: list[str] | None = None) -> Model:
        graph = helper.make_graph(
            self.nodes,
            "drawing",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", channels, 8, 8])],
            [helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, scores)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def residual(width: int = 16) -> Model:
    """Return a residual network with Q/DQ where they belong."""
    draw = Drawing()
    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    stem = draw.node("Conv", [draw.pair("images"), draw.weight("stem", (width, 3, 3, 3), 0)], "stem", **square)
    skip = draw.pair(draw.node("Relu", [stem], "stem.relu"))
    body = draw.node("Conv", [skip, draw.weight("body", (width, width, 3, 3), 0)], "body", **square)
    total = draw.node("Add", [draw.pair(body), skip], "add")
    pool = draw.node("GlobalAveragePool", [draw.pair(draw.node("Relu", [total], "add.relu"))], "pool")
    flat = draw.pair(draw.node("Flatten", [pool], "flat"))
    draw.node("Gemm", [flat, draw.weight("head", (10, width), 0)], "head", transB=1)
    return draw.model(scores=["batch", "classes"])


def find(model: Model, name: str) -> onnx.NodeProto:
    (found,) = [node for node in model.graph.node if node.name == name]
    assert isinstance(found, onnx.NodeProto)
    return found


def store(model: Model, **constants: Any) -> None:
    """Put constants into the graph, over those that have their names; "__" stands for a point."""
    for name, value in ((name.replace("__", "."), value) for name, value in constants.items()):
        for old in [tensor for tensor in model.graph.initializer if tensor.name == name]:
            model.graph.initializer.remove(old)
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def read(model: Model, name: str, position: int, tensor: str) -> None:
    """Let a node read another tensor."""
    node = find(model, name)
    node.input.extend([""] * (position + 1 - len(node.input)))
    node.input[position] = tensor


def between(model: Model, name: str, *nodes: onnx.NodeProto) -> None:
    """Put nodes in front of one, which then reads the last of them."""
    index = next(index for index, node in enumerate(model.graph.node) if node.name == name)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(index + offset, node)
    read(model, name, 0, nodes[-1].output[0])


def requantize(model: Model, tensor: str, name: str) -> None:
    """Put a Q/DQ pair between a tensor and a node."""
    draw = Drawing()
    draw.pair(tensor)
    store(model, **draw.constants)
    between(model, name, *draw.nodes)


def scale_from_images(model: Model) -> None:
    between(model, "images.q", helper.make_node("ReduceMax", ["images"], ["peak"], keepdims=0))
    read(model, "images.q", 0, "images")
    for name in ("images.q", "images.dq"):
        read(model, name, 1, "peak")


def no_zero_point(model: Model) -> None:
    for name in ("images.q", "images.dq"):
        find(model, name).input.pop()


def other_axis(model: Model) -> None:
    find(model, "stem.w.dq").attribute[0].i = 1
    store(model, stem__w__s=np.full(3, SCALE), stem__w__z=np.zeros(3, np.int8))


def quantized_bias(layer: str, position: int, values: Array) -> Callable[[Model], None]:
    def plant(model: Model) -> None:
        store(model, b__i=values, b__s=SCALE)
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b.i", "b.s"], ["b.dq"], "b.dq"))
        read(model, layer, position, "b.dq")

    return plant


def norm_behind_a_pair(model: Model) -> None:
    ends = {name: np.ones(16, np.float32) for name in ("gamma", "beta", "mean", "var")}
    store(model, **ends)
    requantize(model, "stem", "stem.relu")
    between(model, "stem.relu", helper.make_node("BatchNormalization", ["stem.dq", *ends], ["norm"], "norm"))


def bias_behind_a_pair(model: Model) -> None:
    store(model, b=np.ones((1, 16, 1, 1), np.float32))
    requantize(model, "stem", "stem.relu")
    between(model, "stem.relu", helper.make_node("Add", ["b", "stem.dq"], ["shifted"], "shifted"))


def pair_behind_bias(model: Model) -> None:
    store(model, b=np.ones((1, 16, 1, 1), np.float32))
    between(model, "stem.relu", helper.make_node("Add", ["b", "stem"], ["shifted"], "shifted"))
    requantize(model, "shifted", "stem.relu")


def zero_point_from_images(model: Model) -> None:
    cast = helper.make_node("Cast", ["peak"], ["zero"], to=TensorProto.INT8)
    between(model, "images.q", helper.make_node("ReduceMax", ["images"], ["peak"], keepdims=0), cast)
    read(model, "images.q", 0, "images")
    read(model, "images.q", 2, "zero")


def two_scales(model: Model) -> None:
    store(model, other=SCALE / 2)
    read(model, "images.dq", 1, "other")


def quantized_constant_of_an_add(model: Model) -> None:
    quantized_bias("add", 1, np.ones((1, 16, 1, 1), np.int8))(model)
    read(model, "add", 0, "body")


def float_weight(model: Model) -> None:
    store(model, w=np.ones((10, 16), np.float32))
    read(model, "head", 1, "w")


def all_float(model: Model) -> None:
    float_weight(model)
    read(model, "head", 0, "flat")


def plain_mean(model: Model) -> None:
    store(model, axes=np.array([-2, -1]))
    find(model, "pool").op_type = "ReduceMean"
    read(model, "pool", 0, "add.relu")
    read(model, "pool", 1, "axes")


def float_add(model: Model) -> None:
    read(model, "add", 0, "body")
    read(model, "add", 1, "stem.relu")


FAULTS: dict[str, tuple[str, str, Callable[[Model], None]]] = {
    "zero point": ("non-zero-zero-point", "images.q", lambda m: store(m, images__z=np.int8(3))),
    "zero point of a weight": (
        "non-zero-zero-point",
        "stem.w.dq",
        lambda m: store(m, stem__w__z=np.eye(16, dtype=np.int8)[2]),
    ),
    "zero point of the images": ("non-zero-zero-point", "images.q", zero_point_from_images),
    "uint8": ("uint8", "images.q", lambda m: store(m, images__z=np.uint8(0))),
    "uint8 by default": ("uint8", "images.q", no_zero_point),
    "uint8 weight": (
        "uint8",
        "stem.w.dq",
        lambda m: store(m, stem__w__i=np.ones((16, 3, 3, 3), np.uint8), stem__w__z=np.zeros(16, np.uint8)),
    ),
    "int32 weight": (
        "not-int8",
        "stem.w.dq",
        lambda m: store(m, stem__w__i=np.ones((16, 3, 3, 3), np.int32), stem__w__z=np.zeros(16, np.int32)),
    ),
    "int16": ("not-int8", "images.q", lambda m: store(m, images__z=np.int16(0))),
    "scale 0": ("scale", "images.q", lambda m: store(m, images__s=np.float32(0))),
    "scale below 0": ("scale", "images.q", lambda m: store(m, images__s=-SCALE)),
    "scale NaN": ("scale", "images.q", lambda m: store(m, images__s=np.float32(np.nan))),
    "scale infinite": ("scale", "stem.w.dq", lambda m: store(m, stem__w__s=np.full(16, np.float32(np.inf)))),
    "scale of the images": ("scale", "images.q", scale_from_images),
    "two scales": ("scale", "images.dq", two_scales),
    "per-channel activation": (
        "per-channel-activation",
        "images.q",
        lambda m: store(m, images__s=np.full(3, SCALE), images__z=np.zeros(3, np.int8)),
    ),
    "weight axis": ("weight-axis", "stem.w.dq", other_axis),
    "int32 bias": ("quantized-bias", "stem", quantized_bias("stem", 2, np.ones(16, np.int32))),
    "int8 bias": ("quantized-bias", "head", quantized_bias("head", 2, np.ones(10, np.int8))),
    "bias of an Add": ("quantized-bias", "add", quantized_constant_of_an_add),
    "pair before ReLU": ("split-fusion", "stem.q", lambda m: requantize(m, "stem", "stem.relu")),
    "pair before batch norm": ("split-fusion", "stem.q", norm_behind_a_pair),
    "pair behind bias": ("split-fusion", "shifted.q", pair_behind_bias),
    "pair before bias": ("split-fusion", "stem.q", bias_behind_a_pair),
    "float input": ("unquantized-input", "body", lambda m: read(m, "body", 0, "stem.relu")),
    "float weight": (
        "unquantized-input",
        "head",
        float_weight,
    ),
    "float layer": ("float-layer", "head", all_float),
    "float skip": ("float-residual", "add", lambda m: read(m, "add", 1, "stem.relu")),
    "float Add": ("float-residual", "add", float_add),
    "float pool": ("float-pool", "pool", lambda m: read(m, "pool", 0, "add.relu")),
    "float mean": ("float-pool", "pool", plain_mean),
}


def test_a_healthy_graph_has_no_findings() -> None:
    onnx.checker.check_model(residual(), full_check=True)
    assert lint(residual()) == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(fault: str) -> None:
    rule, node, plant = FAULTS[fault]
    model = residual()
    plant(model)
    found = lint(model)
    assert [(each.rule, each.node) for each in found] == [(rule, node)]
    assert found[0].severity == {name: severity for severity, name, _ in RULES}[rule]
    assert f"'{node}'" in found[0].sentence


def test_every_rule_is_planted() -> None:
    planted = {rule for rule, *_ in FAULTS.values()}
    assert planted | {"few-channels", "odd-channels"} == {name for _, name, _ in RULES}


@pytest.mark.parametrize(
    ("width", "rule"), [(8, "few-channels"), (20, "odd-channels"), (24, None), (12, "few-channels")]
)
def test_widths_that_int8_serves_badly_are_named_once_a_convolution(width: int, rule: str | None) -> None:
    found = [(each.rule, each.node) for each in lint(residual(width))]
    assert found == ([] if rule is None else [(rule, "stem"), (rule, "body")])


def test_a_depthwise_convolution_counts_its_groups() -> None:
    draw = Drawing()
    weight = draw.weight("depthwise", (16, 1, 3, 3), 0)
    draw.node("Conv", [draw.pair("images"), weight], "depthwise", group=16)
    draw.node("Conv", [draw.pair("depthwise"), draw.weight("second", (16, 1, 3, 3), 0)], "second", group=16)
    assert lint(draw.model(16)) == ()


@pytest.mark.parametrize(("axis", "faults"), [(0, ["weight-axis"]), (1, [])])
@pytest.mark.parametrize("operator", ["ConvTranspose", "Gemm", "MatMul"])
def test_output_channels_lie_where_the_operator_has_them(operator: str, axis: int, faults: list[str]) -> None:
    draw = Drawing()
    source = draw.pair("images")
    shape: tuple[int, ...] = (16, 24, 3, 3)
    if operator != "ConvTranspose":
        source, shape = draw.node("Flatten", [source], "flat"), (16 * 64, 24)
    draw.node(operator, [source, draw.weight("layer", shape, axis)], "layer")
    assert [each.rule for each in lint(draw.model(16))] == faults


@pytest.mark.parametrize(("axis", "faults"), [(0, []), (1, ["weight-axis"]), (-1, ["weight-axis"]), (-2, [])])
@pytest.mark.parametrize("order", [{"perm": [1, 0]}, {}])
def test_the_axis_is_seen_through_a_transpose(axis: int, order: dict[str, Any], faults: list[str]) -> None:
    draw = Drawing()
    flat = draw.node("Flatten", [draw.pair("images")], "flat")
    weight = draw.node("Transpose", [draw.weight("layer", (24, 16 * 64), axis)], "turned", **order)
    draw.node("MatMul", [flat, weight], "layer")
    assert [each.rule for each in lint(draw.model(16))] == faults


def test_an_add_may_take_a_quantized_convolution_and_an_integer_skip() -> None:
    model = residual()
    read(model, "add", 0, "body")  # TensorRT fuses the two: the convolution's sum need not be quantized
    assert lint(model) == ()


def test_floats_of_eight_bits_are_no_integers_of_another_width() -> None:
    model = residual()
    store(model, images__z=np.int8(0))
    model.graph.initializer[-1].CopyFrom(helper.make_tensor("images.z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    assert lint(model) == ()


def test_integers_go_through_what_only_moves_them() -> None:
    model = residual()
    draw = Drawing()
    draw.node("MaxPool", ["images.dq"], "shrunk", kernel_shape=[2, 2])
    between(model, "stem", *draw.nodes)
    assert lint(model) == ()


def test_a_weight_behind_both_ends_of_a_pair_is_a_weight() -> None:
    draw = Drawing()
    draw.constant("w", np.ones((16, 3, 1, 1), np.float32))
    weight = draw.pair("w")
    for name in ("w.s", "w.z"):
        draw.constants[name] = np.full(16, draw.constants[name])
    draw.node("Conv", [draw.pair("images"), weight], "layer")
    for node in draw.nodes[:2]:
        node.attribute.append(helper.make_attribute("axis", 0))
    assert lint(draw.model()) == ()
    draw.nodes[1].attribute[0].i = 1
    assert "scale" in [each.rule for each in lint(draw.model())]
    draw.nodes[0].attribute[0].i = 1
    assert [each.rule for each in lint(draw.model())] == ["weight-axis"]


def test_constants_may_be_nodes_and_computed() -> None:
    model = residual()
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    model.graph.initializer.remove(held["images.s"])
    nodes = [
        helper.make_node("Constant", [], ["kept"], value=held["images.s"]),
        helper.make_node("Identity", ["kept"], ["same"]),
        helper.make_node("Abs", ["same"], ["images.s"]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    assert lint(model) == ()
    nodes[0].attribute[0].t.CopyFrom(numpy_helper.from_array(np.float32(0)))
    model.graph.node[0].CopyFrom(nodes[0])
    assert [(each.rule, each.node) for each in lint(model)] == [("scale", "images.q")]


def test_a_node_without_a_name_is_called_by_its_tensor() -> None:
    model = residual()
    store(model, images__s=np.float32(0))
    node = find(model, "images.q")
    node.name, node.output[0] = "", "integers"
    read(model, "images.dq", 0, "integers")
    assert [each.node for each in lint(model)] == ["integers"]


def test_a_float_graph_has_no_findings_and_no_graph_is_changed() -> None:
    draw = Drawing()
    draw.constant("w", np.ones((5, 3, 1, 1), np.float32))
    draw.node("Conv", ["images", "w"], "layer")
    assert lint(draw.model()) == ()
    model = residual(20)
    before = model.SerializeToString(deterministic=True)
    lint(model)
    assert model.SerializeToString(deterministic=True) == before


def test_errors_come_first_and_refuse_the_graph_in_one_sentence() -> None:
    model = residual(8)
    refuse_errors(lint(model), "net.onnx")  # warnings pass
    store(model, **{"add.relu.s": np.float32(0)})
    refused = r"^net\.onnx: the scale of QuantizeLinear 'add\.relu\.q' is not positive and finite; calibrate again$"
    with pytest.raises(InputError, match=refused):
        refuse_errors(lint(model), "net.onnx")
    store(model, images__z=np.int8(1), flat__z=np.int8(1))
    found = lint(model)
    assert [each.severity for each in found] == ["error"] * 3 + ["warning"] * 2
    with pytest.raises(InputError, match=r"'images\.q'.* \(and 2 more errors\)$"):
        refuse_errors(found, "net.onnx")


def test_a_finding_is_json() -> None:
    finding = Finding("error", "scale", "q", "it is 0")
    assert finding.to_json() == {"severity": "error", "rule": "scale", "node": "q", "sentence": "it is 0"}


def parsed(model: Model) -> bool:
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(logger).create_network(0)
    return bool(trt.OnnxParser(network, logger).parse(model.SerializeToString()))


def test_tensorrt_parses_the_healthy_graph() -> None:
    assert parsed(residual())


@pytest.mark.parametrize(
    "fault", ["zero point", "zero point of a weight", "int32 bias", "scale 0", "scale NaN", "int16"]
)
def test_tensorrt_refuses_what_is_called_refused(fault: str) -> None:
    model = residual()
    FAULTS[fault][2](model)
    assert not parsed(model)
