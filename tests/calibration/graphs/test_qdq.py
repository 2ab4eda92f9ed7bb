from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs.qdq import store_integer_weights

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]


def scores(model: onnx.ModelProto, images: Array) -> Array:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def quantized_classifier(*, axis: int, zero_points: bool = True, computed_scale: bool = False) -> onnx.ModelProto:
    """Return a convolution and a linear layer, inputs per tensor and weights per channel behind Q/DQ."""
    random = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "conv.weight": random.standard_normal((4, 2, 3, 3)).astype(np.float32),
        "conv.scale": random.uniform(0.005, 0.02, (4, 2)[axis]).astype(np.float32),
        "linear.weight": random.standard_normal((4 * 36, 3)).astype(np.float32),
        "linear.scale": np.array(0.02, np.float32),
        "images.scale": np.array(1 / 127, np.float32),
    }
    nodes = []

    def quantize(tensor: str, layer: str, axis: int | None) -> None:
        scale = f"{layer}.scale"
        along: dict[str, Any] = {} if axis is None else {"axis": axis}
        ends = [scale]
        if zero_points:
            constants[f"{layer}.zero"] = np.zeros(constants[scale].shape, np.int8)
            ends.append(f"{layer}.zero")
        if computed_scale and layer == "linear":
            nodes.append(helper.make_node("Abs", [scale], ["linear.scale.abs"]))
            ends[0] = "linear.scale.abs"
        nodes.append(helper.make_node("QuantizeLinear", [tensor, *ends], [f"{tensor}.q"], **along))
        nodes.append(helper.make_node("DequantizeLinear", [f"{tensor}.q", *ends], [f"{tensor}.dq"], **along))

    quantize("images", "images", None)
    quantize("conv.weight", "conv", axis)
    nodes.append(helper.make_node("Conv", ["images.dq", "conv.weight.dq"], ["conv"]))
    nodes.append(helper.make_node("Flatten", ["conv"], ["flat"]))
    quantize("linear.weight", "linear", None)
    nodes.append(helper.make_node("MatMul", ["flat", "linear.weight.dq"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def quantized_constants(model: onnx.ModelProto) -> list[str]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] in constants
    ]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("zero_points", [True, False])
def test_the_function_is_the_same_to_the_last_bit(axis: int, zero_points: bool) -> None:
    before = quantized_classifier(axis=axis, zero_points=zero_points)
    after = store_integer_weights(quantized_classifier(axis=axis, zero_points=zero_points))
    onnx.checker.check_model(after, full_check=True)
    images = np.random.default_rng(1).random((16, 2, 8, 8), np.float32)
    np.testing.assert_array_equal(scores(after, images), scores(before, images))


def test_weights_are_integers_and_only_activations_are_quantized_at_run_time() -> None:
    after = store_integer_weights(quantized_classifier(axis=0))
    assert quantized_constants(after) == []
    assert [node.op_type for node in after.graph.node].count("QuantizeLinear") == 1
    assert [node.op_type for node in after.graph.node].count("DequantizeLinear") == 3
    kinds = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
    assert kinds["conv.weight.q"] == kinds["linear.weight.q"] == TensorProto.INT8
    assert not {"conv.weight", "linear.weight"} & set(kinds)


def test_a_scale_that_is_computed_in_the_graph_is_left_there() -> None:
    before = quantized_classifier(axis=0, computed_scale=True)
    after = store_integer_weights(quantized_classifier(axis=0, computed_scale=True))
    assert quantized_constants(after) == ["linear.weight"]
    images = np.random.default_rng(1).random((4, 2, 8, 8), np.float32)
    np.testing.assert_array_equal(scores(after, images), scores(before, images))


def transposed_linear(*, axis: int | None, perm: list[int] | None, reader: str) -> onnx.ModelProto:
    """Return a linear layer on three dimensions as the exporter writes it: its weight is transposed after Q/DQ."""
    random = np.random.default_rng(0)
    channels = () if axis is None else ((5, 7)[axis],)
    constants: dict[str, Array] = {
        "weight": random.standard_normal((5, 7)).astype(np.float32),
        "scale": random.uniform(0.01, 0.03, channels).astype(np.float32),
        "zero": np.zeros(channels, np.int8),
    }
    along: dict[str, Any] = {} if axis is None else {"axis": axis}
    order: dict[str, Any] = {} if perm is None else {"perm": perm}
    nodes = [
        helper.make_node("QuantizeLinear", ["weight", "scale", "zero"], ["integers"], **along),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["floats"], **along),
        helper.make_node("Transpose", ["floats"], ["turned"], **order),
        helper.make_node("MatMul", ["images", "turned"], ["product"]),
    ]
    if reader == "another transpose":
        nodes += [
            helper.make_node("Transpose", ["turned"], ["back"], perm=[1, 0]),
            helper.make_node("MatMul", ["product", "back"], ["scores"]),
        ]
    elif reader == "the weight itself":
        nodes.append(helper.make_node("MatMul", ["product", "floats"], ["scores"]))
    else:
        nodes.append(helper.make_node("Identity", ["product"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "transposed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 7])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("axis", [0, 1, -1, None])
@pytest.mark.parametrize("perm", [None, [1, 0]])
@pytest.mark.parametrize("reader", ["", "another transpose", "the weight itself"])
def test_a_transpose_of_a_weight_goes_into_its_integers(axis: int | None, perm: list[int] | None, reader: str) -> None:
    before = transposed_linear(axis=axis, perm=perm, reader=reader)
    after = store_integer_weights(transposed_linear(axis=axis, perm=perm, reader=reader))
    onnx.checker.check_model(after, full_check=True)
    assert "Transpose" not in {node.op_type for node in after.graph.node}
    images = np.random.default_rng(1).random((4, 3, 7), np.float32)
    np.testing.assert_array_equal(scores(after, images), scores(before, images))
    dequantizers = [node for node in after.graph.node if node.op_type == "DequantizeLinear"]
    assert len(dequantizers) == (2 if reader else 1)
    assert len({node.input[2] for node in dequantizers}) == len(dequantizers)
    (first,) = (node for node in dequantizers if node.output[0] == "turned")
    if axis is not None:
        assert [entry.i for entry in first.attribute] == [1 - axis % 2]


def test_a_transpose_of_an_activation_stays() -> None:
    model = quantized_classifier(axis=0)
    model.graph.node.insert(2, helper.make_node("Transpose", ["images.dq"], ["turned"], perm=[0, 1, 3, 2]))
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    conv.input[0] = "turned"
    assert "Transpose" in {node.op_type for node in store_integer_weights(model).graph.node}


def test_what_a_subgraph_reads_is_kept() -> None:
    model = quantized_classifier(axis=0)
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["flat", "linear.float"], ["inner"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    weight = np.ones((4 * 36, 3), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "linear.float"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node[-1].output[0] = "unused"
    model.graph.node.append(helper.make_node("If", ["yes"], ["scores"], then_branch=inner, else_branch=inner))
    after = store_integer_weights(model)
    onnx.checker.check_model(after, full_check=True)
    assert {"linear.float", "yes"} < {tensor.name for tensor in after.graph.initializer}
    assert "unused" not in {output for node in after.graph.node for output in node.output}
