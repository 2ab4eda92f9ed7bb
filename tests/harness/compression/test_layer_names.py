"""An exported graph calls its layers what the model calls them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import onnx
import torch
from torch import Tensor, nn

from calibration.graphs.qdq import store_integer_weights, translations
from calibration.rules import RULES
from harness.compression.layer_names import name_layers
from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.models.build import build_model
from harness.models.onnx_graph import exported, simplified
from tests.harness.compression.small_networks import Residual, Shared, plain, settled

MULTIPLY = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def graph_of(twin: Twin, shape: tuple[int, int, int]) -> onnx.ModelProto:
    program = exported(twin, shape, translations())
    return name_layers(store_integer_weights(simplified(program.model_proto)), program, twin.operations)


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("name", ["cnn8", "resnet18", "vit-tiny", "mobilenet-v2"])
def test_every_layer_of_a_model_has_its_name_in_both_graphs(name: str, quantize: bool) -> None:
    shape = (3, 32, 32)
    twin = Twin(traced(build_model(name, None, shape, 10).eval(), shape))
    graph = graph_of(twin.quantize(quantize), shape)
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    kinds = {node.name: node.op_type for node in graph.graph.node}
    for operation in twin.operations:
        if operation.kind in RULES:
            assert operation.name in kinds
        if operation.kind in MULTIPLY:
            assert kinds[operation.name] in MULTIPLY
    assert [name for name, kind in kinds.items() if kind in MULTIPLY] == [
        operation.name for operation in twin.operations if operation.kind in MULTIPLY
    ]


@pytest.mark.parametrize(("make", "shape"), [(Residual, (1, 8, 8)), (plain, (1, 8, 8))])
def test_a_node_with_a_layer_s_name_has_its_weight(make: Callable[[], nn.Module], shape: tuple[int, int, int]) -> None:
    twin = Twin(traced(settled(make()), shape)).quantize(False)
    graph = graph_of(twin, shape)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    weights = twin.weights()
    layers = [node for node in graph.graph.node if f"{node.name}.weight" in weights]
    assert len(layers) == len(twin.weight_quantizers())
    for node in layers:
        torch.testing.assert_close(torch.from_numpy(values[node.input[1]].copy()), weights[f"{node.name}.weight"])


@pytest.mark.parametrize("quantize", [False, True])
def test_each_call_of_a_layer_has_a_name(quantize: bool) -> None:
    twin = Twin(traced(settled(Shared()), (2, 4, 4))).quantize(quantize)
    nodes = graph_of(twin, (2, 4, 4)).graph.node
    assert [node.name for node in nodes if node.op_type == "Conv"] == ["conv", "conv2d_1"]


def test_a_name_that_the_exporter_gave_another_node_stays_unique() -> None:
    class Awkward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node_relu = nn.Conv2d(1, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            return torch.relu(self.node_relu(images)).flatten(1)

    graph = graph_of(Twin(traced(Awkward().eval(), (1, 4, 4))).quantize(False), (1, 4, 4))
    kinds = {node.name: node.op_type for node in graph.graph.node}
    assert len(kinds) == len(graph.graph.node)
    assert kinds["node_relu"] == "Conv"
