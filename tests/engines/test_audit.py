"""The precision audit of real engines: a healthy one, one that a runtime runs in float, one that was left in float."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from engines.audit import LayerPrecision, PrecisionAudit, audit_warnings
from engines.backend import EngineManifest
from engines.loading import build_engine, read_manifest
from tests.engines.tiny_graphs import CLASSES, SHAPE, built, graph

pytestmark = pytest.mark.core

WIDTH = 16
PIXELS = SHAPE[1] * SHAPE[2]


class Network:
    """A Q/DQ graph as it grows: int8 weights, one scale and zero point a channel, activations per tensor."""

    def __init__(self, share_zero_points: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.share_zero_points = share_zero_points
        self.random = np.random.default_rng(0)

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def on_grid(self, tensor: str) -> str:
        self.constants[f"{tensor}_scale"] = np.array(1 / 60, np.float32)
        self.constants[f"{tensor}_zero"] = np.array(0, np.int8)
        grid = [f"{tensor}_scale", f"{tensor}_zero"]
        integers = self.node("QuantizeLinear", [tensor, *grid], f"{tensor}_q")
        return self.node("DequantizeLinear", [integers, *grid], f"{tensor}_dq")

    def weight(self, name: str, shape: tuple[int, ...], quantized: bool = True) -> str:
        if not quantized:
            self.constants[name] = self.random.standard_normal(shape).astype(np.float32)
            return name
        zero = f"zero_{shape[0]}" if self.share_zero_points else f"{name}_zero"
        self.constants[name] = self.random.integers(-127, 128, shape).astype(np.int8)
        self.constants[f"{name}_scale"] = np.full(shape[0], 0.003, np.float32)
        self.constants[zero] = np.zeros(shape[0], np.int8)
        return self.node("DequantizeLinear", [name, f"{name}_scale", zero], f"{name}_dq", axis=0)


def network(folder: Path, *, share_zero_points: bool = False, keep_first: bool = False, rectify: bool = False) -> Path:
    """Save conv, conv, linear, linear, the first three equally wide, optionally with a ReLU after both convolutions."""
    net = Network(share_zero_points)
    tensor = "images" if keep_first else net.on_grid("images")
    for name, channels in (("first", SHAPE[0]), ("second", WIDTH)):
        weight = net.weight(f"{name}_weight", (WIDTH, channels, 3, 3), quantized=not (keep_first and name == "first"))
        tensor = net.node("Conv", [tensor, weight], name, pads=[1, 1, 1, 1])
        if rectify:
            tensor = net.node("Relu", [tensor], f"{name}_relu")
        tensor = net.on_grid(tensor)
    tensor = net.on_grid(net.node("Flatten", [tensor], "flat"))
    tensor = net.node("Gemm", [tensor, net.weight("hidden_weight", (WIDTH, WIDTH * PIXELS))], "hidden", transB=1)
    net.node("Gemm", [net.on_grid(tensor), net.weight("head_weight", (CLASSES, WIDTH))], "scores", transB=1)
    onnx.save(graph(net.nodes, net.constants), str(folder / "graph.onnx"))
    return folder / "graph.onnx"


MACS = {
    "node_first": WIDTH * PIXELS * SHAPE[0] * 9,
    "node_second": WIDTH * PIXELS * WIDTH * 9,
    "node_hidden": WIDTH * WIDTH * PIXELS,
    "node_scores": WIDTH * CLASSES,
}


def audit(backend: str, path: Path) -> PrecisionAudit:
    folder = path.parent / f"{backend}-engine"
    folder.mkdir()
    made = build_engine(backend, "int8", path, folder, {})[0].audit
    assert made is not None
    assert {layer.name: layer.macs for layer in made.layers} == MACS
    return made


def in_float(made: PrecisionAudit) -> set[str]:
    return {layer.name for layer in made.layers if layer.precision == "fp32"}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_healthy_graph_runs_in_int8_and_nothing_is_said(backend: str, tmp_path: Path) -> None:
    made = audit(backend, network(tmp_path))
    assert {layer.precision for layer in made.layers} == {"int8"}
    assert made.int8_mac_share == 1.0
    assert made.reason is None
    assert audit_warnings(backend, "int8", made) == ()


def test_openvino_that_falls_back_to_float_is_said_aloud(tmp_path: Path) -> None:
    """Convolutions and a linear layer that share a zero point run in FP32; seen with OpenVINO 2026.4."""
    made = audit("openvino", network(tmp_path, share_zero_points=True))
    if not in_float(made):
        pytest.skip("this OpenVINO runs weights that share a zero point in INT8")
    assert all(layer.quantized for layer in made.layers)
    share = sum(MACS[name] for name in in_float(made)) / sum(MACS.values())
    assert made.int8_mac_share == pytest.approx(1 - share)
    (sentence,) = audit_warnings("openvino", "int8", made)
    assert sentence.startswith(
        f"openvino int8: {len(in_float(made))} of 4 layers, {100 * share:.1f} % of the multiply-"
    )
    assert "in FP32 although the graph quantizes" in sentence
    assert all(name in sentence for name in in_float(made))


def test_onnxruntime_runs_a_convolution_before_a_relu_in_float_and_that_is_said(tmp_path: Path) -> None:
    made = audit("onnxruntime", network(tmp_path, rectify=True))
    if not in_float(made):
        pytest.skip("this ONNX Runtime quantizes a convolution through its ReLU")
    assert in_float(made) == {"node_first", "node_second"}
    (sentence,) = audit_warnings("onnxruntime", "int8", made)
    assert "2 of 4 layers" in sentence
    assert "although the graph quantizes them: node_first, node_second" in sentence


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_layer_that_the_graph_keeps_in_float_is_told_apart(backend: str, tmp_path: Path) -> None:
    made = audit(backend, network(tmp_path, keep_first=True))
    assert [layer.quantized for layer in made.layers] == [False, True, True, True]
    assert in_float(made) == {"node_first"}
    assert made.int8_mac_share == pytest.approx(1 - MACS["node_first"] / sum(MACS.values()))
    (sentence,) = audit_warnings(backend, "int8", made)
    assert sentence.endswith("runs in FP32 because the graph does not quantize it: node_first")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_layers_are_found_though_they_share_their_weight(backend: str, tmp_path: Path) -> None:
    square = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["one"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["one"], ["relu"]),
        helper.make_node("Conv", ["relu", "w"], ["two"], name="two", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["two", "images"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["scores"]),
    ]
    path = tmp_path / "graph.onnx"
    onnx.save(graph(nodes, {"w": square}, outputs={"scores": ["batch", 2]}), str(path))
    folder = tmp_path / "engine"
    folder.mkdir()
    made = build_engine(backend, "fp32", path, folder, {})[0].audit
    assert made is not None
    assert [(layer.name, layer.precision) for layer in made.layers] == [("one", "fp32"), ("two", "fp32")]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_both_products_of_quantized_attention_are_found(backend: str, tmp_path: Path) -> None:
    net = Network(share_zero_points=False)
    tokens = net.on_grid("images")
    transposed = net.on_grid(net.node("Transpose", ["images"], "keys", perm=[0, 1, 3, 2]))
    scores = net.node("Softmax", [net.node("MatMul", [tokens, transposed], "alike")], "attention")
    mixed = net.node("MatMul", [net.on_grid(scores), tokens], "mixed")
    net.node("Flatten", [net.node("GlobalAveragePool", [mixed], "pool")], "scores")
    path, folder = tmp_path / "graph.onnx", tmp_path / "engine"
    onnx.save(graph(net.nodes, net.constants, outputs={"scores": ["batch", SHAPE[0]]}), str(path))
    folder.mkdir()
    made = build_engine(backend, "int8", path, folder, {})[0].audit
    assert made is not None
    assert [layer.name for layer in made.layers] == ["node_alike", "node_mixed"]
    assert "unknown" not in {layer.precision for layer in made.layers}
    assert made.int8_mac_share is not None


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_a_float_engine_is_float_without_a_warning(backend: str, tmp_path: Path) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    manifest = built(backend, "fp32", tmp_path / "engine")
    assert manifest.audit is not None
    assert {layer.precision for layer in manifest.audit.layers} == {"fp32"}
    assert manifest.audit.int8_mac_share == 0.0
    assert audit_warnings(backend, "fp32", manifest.audit) == ()
    assert read_manifest(tmp_path / "engine") == manifest


def test_a_graph_that_cannot_be_counted_is_built_all_the_same(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["images"], ["places"]),
        helper.make_node("Cast", ["places"], ["rows"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[1, 0]),
        helper.make_node("MatMul", ["columns", "rows"], ["scores"], name="table"),
    ]
    path, folder = tmp_path / "graph.onnx", tmp_path / "engine"
    onnx.save(graph(nodes, {}), str(path))
    folder.mkdir()
    made = build_engine("onnxruntime", "fp32", path, folder, {})[0].audit
    assert made is not None
    assert made.int8_mac_share is None
    assert "shapes around table" in str(made.reason)


def layer(name: str, precision: str, macs: int = 10, quantized: bool = True) -> LayerPrecision:
    return LayerPrecision(name, "Conv", precision, macs, quantized)


def test_what_the_runtime_does_not_tell_is_said_too() -> None:
    made = PrecisionAudit((layer("a", "fp32"), layer("b", "unknown", 30)), None, "a runtime", "it does not tell of b")
    assert audit_warnings("some", "int8", made) == (
        "some int8: 1 of 2 layers, 25.0 % of the multiply-accumulates, runs in FP32 although the graph quantizes it: a",
        "some int8: how much of it runs in INT8 is not known: it does not tell of b",
    )


def test_a_long_list_of_layers_is_cut() -> None:
    made = PrecisionAudit(tuple(layer(f"layer{number}", "fp32") for number in range(9)), 0.0, "a runtime")
    (sentence,) = audit_warnings("some", "int8", made)
    assert sentence.endswith("them: layer0, layer1, layer2, layer3 and 5 more")


def test_an_engine_of_before_the_audits_is_read_and_nothing_is_said_of_it() -> None:
    old = EngineManifest("openvino", "2026.0", "int8", (3, 32, 30), 10, 1000, 1500, {})
    assert "audit" not in old.to_json()
    assert EngineManifest.from_json(json.loads(json.dumps(old.to_json()))) == old
    assert audit_warnings(old.backend, old.precision, old.audit) == ()
