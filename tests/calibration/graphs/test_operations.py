from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs.constants import constant_tensors, constant_values
from calibration.graphs.operations import node_names, operations
from calibration.rules import places
from tests.calibration.graphs.float_graphs import GRAPHS, OPSETS, SHAPE, Sketch, images

pytestmark = pytest.mark.core

WEIGHT_AXES = {
    "depthwise": {"expand": 0, "depthwise": 0, "head": 0},
    "grouped": {"grouped": 0, "transposed": 1, "head": -1},
    "residual": {"stem": 0, "first": 0, "second": 0, "head": -1},
    "concatenated": {"branch": 0, "pooled": 0, "head": 0},
    "attention": {"patches": 0, "query": -1, "key_transposed": -1, "value": -1, "head": -1},
}
ACTIVATIONS = {  # how many inputs of each kind of operation
    "depthwise": {"Conv": 2, "GlobalAveragePool": 1, "Gemm": 1},
    "grouped": {"Conv": 1, "ConvTranspose": 1, "GlobalAveragePool": 1, "MatMul": 1},
    "residual": {"Conv": 3, "Add": 4, "AveragePool": 1, "MatMul": 1},
    "concatenated": {"Conv": 2, "AveragePool": 1, "GlobalAveragePool": 1, "Gemm": 1},
    "attention": {"Conv": 1, "MatMul": 3 + 2 + 2 + 1},
}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_quantized_is_the_same_in_every_opset(name: str, opset: int) -> None:
    found = places(operations(GRAPHS[name](opset)))
    assert {place.tensor: place.axis for place in found if place.axis is not None} == WEIGHT_AXES[name]
    assert Counter(place.kind for place in found if place.axis is None) == ACTIVATIONS[name]


def test_operations_are_the_nodes_in_order_with_their_inputs() -> None:
    model = GRAPHS["attention"](18)
    found = operations(model)
    assert [operation.name for operation in found] == [node.name for node in model.graph.node]
    assert [[operand.tensor for operand in operation.inputs] for operation in found] == [
        list(node.input) for node in model.graph.node
    ]
    constant = {operand.tensor for operation in found for operand in operation.inputs if operand.constant}
    assert {"query", "key", "key_transposed", "value", "positions"} < constant
    assert "images" not in constant


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("axes", "kind"), [([2, 3], "Global"), ([-1, 2], "Global"), ([1, 2], ""), ([3], ""), ([], "")])
def test_only_a_mean_over_all_pixels_pools_globally(opset: int, axes: list[int], kind: str) -> None:
    s = Sketch(opset)
    s.mean("images", axes, keepdims=1) if axes else s("ReduceMean", "images")
    assert operations(_unchecked(s))[0].kind == ("GlobalAveragePool" if kind else "ReduceMean")


def test_axes_may_come_from_a_constant_node() -> None:
    s = Sketch(18)
    axes = s("Constant", value_ints=[2, 3])
    s("ReduceMean", "images", axes)
    assert operations(_unchecked(s))[1].kind == "GlobalAveragePool"


def test_a_mean_over_a_tensor_of_three_dimensions_is_no_pooling() -> None:
    s = Sketch(17)
    x = s("Reshape", "images", s.constant("shape", np.array([0, 4, 64])))
    s("ReduceMean", x, axes=[1, 2])
    assert operations(_unchecked(s))[1].kind == "ReduceMean"


def test_the_sum_inside_an_activation_function_is_no_residual() -> None:
    s = Sketch(18)
    factor = s.constant("factor", np.array(0.044715, np.float32))
    x = s("Relu", s("Add", "images", s("AveragePool", "images", kernel_shape=[1, 1])))
    cubed = s("Mul", s("Pow", x, s.constant("three", np.array(3, np.float32))), factor)
    s("Mul", x, s("Tanh", s("Add", x, cubed)))  # GELU
    pooled = s("AveragePool", x, kernel_shape=[1, 1])
    s("Add", x, s("Mul", x, s("Sigmoid", pooled)))  # no function of x alone
    found = places(operations(_unchecked(s)))
    assert Counter(place.kind for place in found) == {"AveragePool": 2, "Add": 4}


def test_arithmetic_on_shapes_is_not_quantized() -> None:
    s = Sketch(18)
    shape = s("Shape", "images")
    s("Reshape", "images", s("Add", shape, s("Sub", shape, shape)))
    kinds = [operation.kind for operation in operations(_unchecked(s))]
    assert kinds == ["Shape", "Sub of INT64", "Add of INT64", "Reshape"]
    assert places(operations(_unchecked(s))) == ()


def test_a_product_with_a_vector_has_no_output_channels() -> None:
    s = Sketch(18)
    s("MatMul", "images", s.weight("vector", 8))
    assert operations(_unchecked(s))[0].kind == "MatMul by a vector"


def test_an_operator_of_another_domain_keeps_its_domain() -> None:
    s = Sketch(18)
    s("Conv", "images", s.weight("w", 4, 4, 1, 1), domain="their.own")
    model = _unchecked(s)
    model.opset_import.append(helper.make_opsetid("their.own", 1))
    assert operations(model)[0].kind == "their.own.Conv"


def test_every_node_has_a_name_of_its_own() -> None:
    nodes = [
        helper.make_node("Relu", ["a"], ["b"], "twice"),
        helper.make_node("Relu", ["b"], ["c"], "twice"),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"], "d"),
        helper.make_node("Split", ["e"], ["", "f"]),
    ]
    assert node_names(helper.make_graph(nodes, "names", [], [])) == ("twice", "c", "d_", "d", "f")


def test_random_numbers_are_no_constants_and_subgraphs_read_from_outside() -> None:
    inner = helper.make_graph(
        [helper.make_node("Neg", ["images"], ["inner"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    s = Sketch(18)
    s.constant("yes", np.array(True))
    s("RandomNormal", to="noise", shape=[4])
    s("If", "yes", to="chosen", then_branch=inner, else_branch=inner)
    s("Neg", s.weight("w", 4), to="negative")
    assert constant_tensors(_unchecked(s).graph) == {"yes", "w", "negative"}


def test_the_values_of_computed_constants() -> None:
    model = GRAPHS["attention"](18)
    values = constant_values(model, ["key", "key_transposed", "value"])
    np.testing.assert_array_equal(values["key_transposed"], values["key"].T)
    assert values["value"].shape == (8, 8)


def test_the_sketches_run() -> None:
    import onnxruntime as ort

    for name, sketch in GRAPHS.items():
        session = ort.InferenceSession(sketch(18).SerializeToString(), providers=["CPUExecutionProvider"])
        assert np.isfinite(session.run(None, {"images": images(3)})[0]).all(), name


def _unchecked(s: Sketch) -> onnx.ModelProto:
    graph = helper.make_graph(
        s.nodes,
        "part",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *SHAPE])],
        [helper.make_tensor_value_info(s.nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in s.constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", s.opset)], ir_version=8)
