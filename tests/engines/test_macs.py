"""Multiply-accumulates of a graph: by hand for every operator, and untouched by Q/DQ and by the exported batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from contracts.errors import InputError
from engines.macs import layer_macs, multiplying_layers
from tests.engines.tiny_graphs import classifier, graph

pytestmark = pytest.mark.core


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "graph.onnx"
    onnx.save(model, str(path))
    return path


def one_node(operator: str, weight: tuple[int, ...], image: tuple[int, ...], **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node(operator, ["images", "weight"], ["made"], name="layer", **attributes)
    ends = [node, helper.make_node("Identity", ["made"], ["scores"])]
    free: list[Any] = [None] * len(image)
    weights = {"weight": np.zeros(weight, np.float32)}
    return graph(ends, weights, {"images": ["batch", *image[1:]]}, {"scores": free})


@pytest.mark.parametrize(
    ("model", "macs"),
    [
        (one_node("Conv", (8, 2, 3, 3), (1, 2, 6, 7), pads=[1, 1, 1, 1]), 8 * 6 * 7 * 2 * 9),
        (one_node("Conv", (8, 2, 3, 3), (1, 2, 6, 7), strides=[2, 2]), 8 * 2 * 3 * 2 * 9),
        (one_node("Conv", (6, 1, 3, 3), (1, 6, 5, 5), group=6), 6 * 3 * 3 * 9),
        (one_node("Conv", (8, 3, 1, 1), (1, 6, 5, 5), group=2), 8 * 25 * 3),
        (one_node("ConvTranspose", (4, 3, 2, 2), (1, 4, 5, 5), strides=[2, 2]), 4 * 25 * 3 * 4),
        (one_node("ConvTranspose", (4, 3, 3, 3), (1, 4, 5, 5), group=2), 4 * 25 * 3 * 9),
        (one_node("Gemm", (5, 12), (1, 12), transB=1), 5 * 12),
        (one_node("Gemm", (12, 5), (1, 12)), 5 * 12),
        (one_node("MatMul", (12, 5), (1, 7, 12)), 7 * 5 * 12),
    ],
    ids=["conv", "stride", "depthwise", "grouped", "deconv", "grouped deconv", "gemm B", "gemm", "matmul"],
)
def test_one_layer_is_counted_as_by_hand(model: onnx.ModelProto, macs: int, tmp_path: Path) -> None:
    assert layer_macs(saved(model, tmp_path)) == {"layer": macs}


def test_attention_counts_every_head(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["images"], ["keys"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["images", "keys"], ["scores"], name="attention"),
    ]
    model = graph(nodes, {}, {"images": ["batch", 4, 9, 16]}, {"scores": ["batch", 4, 9, 9]})
    assert layer_macs(saved(model, tmp_path)) == {"attention": 4 * 9 * 9 * 16}


@given(width=st.integers(1, 6), groups=st.integers(1, 3), kernel=st.integers(1, 3), stride=st.integers(1, 2))
def test_a_convolution_and_its_transpose_do_the_same_work(
    tmp_path_factory: pytest.TempPathFactory, width: int, groups: int, kernel: int, stride: int
) -> None:
    folder = tmp_path_factory.mktemp("macs")
    how = {"group": groups, "strides": [stride, stride]}
    weight = (groups * width, 2, kernel, kernel)
    forth = one_node("Conv", weight, (1, 2 * groups, 7, 7), **how)
    side = (7 - kernel) // stride + 1
    back = one_node("ConvTranspose", weight, (1, groups * width, side, side), **how)
    assert layer_macs(saved(forth, folder)) == layer_macs(saved(back, folder))


def test_quantizing_changes_no_count_and_is_told_of_each_layer(tmp_path: Path) -> None:
    plain = multiplying_layers(saved(classifier(), tmp_path))
    quantized = multiplying_layers(saved(classifier(quantized=True), tmp_path))
    assert [(layer.operator, layer.macs) for layer in plain] == [("Conv", 8 * 42 * 18), ("Gemm", 8 * 42 * 5)]
    assert [layer.macs for layer in quantized] == [layer.macs for layer in plain]
    assert [layer.name for layer in quantized] == ["conv", "scores"]  # nodes without names go by their outputs
    assert (all(layer.quantized for layer in quantized), any(layer.quantized for layer in plain)) == (True, False)


@pytest.mark.parametrize("tensor", ["images.dq", "conv.weight.dq"])
def test_a_layer_with_one_float_operand_is_not_quantized(tmp_path: Path, tensor: str) -> None:
    model = classifier(quantized=True)
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    place = list(convolution.input).index(tensor)
    convolution.input[place] = "images" if tensor == "images.dq" else "float"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((8, 2, 3, 3), np.float32), "float"))
    assert [layer.quantized for layer in multiplying_layers(saved(model, tmp_path))] == [False, True]


def test_a_shape_that_does_not_follow_is_refused_with_its_node(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["images"], ["places"]),
        helper.make_node("Cast", ["places"], ["rows"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["rows"], ["columns"]),
        helper.make_node("MatMul", ["columns", "rows"], ["scores"], name="table"),
    ]
    model = graph(nodes, {}, outputs={"scores": [None, None]})
    with pytest.raises(InputError, match=r"shapes around table \(MatMul\)"):
        layer_macs(saved(model, tmp_path))
