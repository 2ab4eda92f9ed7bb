from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs.insert import insert
from calibration.graphs.lint import RULES, lint, refuse_errors
from calibration.graphs.operations import operations
from calibration.rules import places
from contracts.errors import InputError
from tests.calibration.graphs.float_graphs import GRAPHS
from tests.calibration.graphs.planted_faults import FAULTS
from tests.calibration.graphs.quantized_drawings import Drawing, Model, between, find, read, residual, store

pytestmark = pytest.mark.core

EVERYWHERE = {"scale", "float-layer", "float-pool", "unquantized-input"}


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
    assert ("TensorRT" in found[0].sentence) == (rule not in EVERYWHERE), "whose rule it is"


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


@pytest.mark.parametrize("name", GRAPHS)
def test_what_the_rules_quantize_has_no_fault_but_its_width(name: str) -> None:
    model = GRAPHS[name](18)
    wanted = places(operations(model))
    quantized = insert(model, wanted, {place.tensor: 0.02 for place in wanted if place.axis is None})
    assert {each.rule for each in lint(quantized)} == {"few-channels"}


@pytest.mark.parametrize("operator", ["Add", "Sum"])
def test_an_add_may_take_a_quantized_convolution_and_an_integer_skip(operator: str) -> None:
    model = residual()
    find(model, "add").op_type = operator
    read(model, "add", 0, "body")  # TensorRT fuses the two: the convolution's sum need not be quantized
    assert lint(model) == ()
    read(model, "add", 1, "stem.relu")
    assert [each.rule for each in lint(model)] == ["float-residual"]


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
