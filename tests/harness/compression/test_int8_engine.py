"""What the twin becomes on a backend: INT8 in fact, not in name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import onnx
import openvino as ov
import torch
from torch import nn

from calibration.graphs.qdq import store_integer_weights, translations
from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.models.onnx_graph import export

WIDTH = 16


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    """Return the INT8 graph of a network whose convolutions and linear layers have equal widths."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()]
    head = [nn.Flatten(), nn.Linear(WIDTH * 64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)]
    twin = Twin(traced(nn.Sequential(*layers, *head).eval(), (1, 8, 8)))
    twin.calibrate("minmax", iter([torch.rand(32, 1, 8, 8)]))
    return store_integer_weights(export(twin, (1, 8, 8), translations()))


def test_no_two_weights_share_a_zero_point(graph: onnx.ModelProto) -> None:
    constants = {tensor.name for tensor in graph.graph.initializer}
    stored = [node for node in graph.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
    assert len(stored) == 4
    assert len({node.input[2] for node in stored}) == 4


def test_every_layer_runs_in_int8_on_openvino(graph: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    onnx.save(graph, str(path))
    model = ov.Core().read_model(str(path))
    model.reshape([8, 1, 8, 8])
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    info = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    layers = [
        (str(each["layerType"].astype(str)), str(each["runtimePrecision"].astype(str)))
        for each in info
        if each["layerType"].astype(str).startswith(("Convolution", "FullyConnected"))
    ]
    assert len(layers) == 4
    assert {precision for _, precision in layers} <= {"i8", "u8"}, layers
