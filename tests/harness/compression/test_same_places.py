"""The rule table quantizes the same places of a network, by the same integers, in its twin and in its ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

import numpy as np
import onnx
from onnx import helper, numpy_helper

from calibration.graphs.lint import lint
from calibration.graphs.operations import operations
from calibration.graphs.tensorrt_cache import activation_scales
from engines.onnxruntime.session import session
from tests.harness.compression.exported_pairs import NETWORKS, Pair, exported_pair
from tests.harness.compression.small_networks import pixels


@pytest.fixture(params=list(NETWORKS), scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    return exported_pair(request.param)


@dataclass(frozen=True)
class Quantized:
    """One input that comes from a DequantizeLinear; `integers` are those of a weight."""

    kind: str
    position: int
    axis: int | None
    scale: Any
    integers: Any

    @property
    def where(self) -> tuple[str, int, int | None, bool]:
        return self.kind, self.position, self.axis, self.integers is not None


def quantized(model: onnx.ModelProto) -> list[Quantized]:
    made = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = []
    for operation in operations(model):
        for position, operand in enumerate(operation.inputs):
            if (node := made.get(operand.tensor)) is None:
                continue
            scale, integers = constants[node.input[1]], constants.get(node.input[0])
            axis = next((helper.get_attribute_value(each) for each in node.attribute if each.name == "axis"), None)
            found.append(Quantized(operation.kind, position, axis if scale.ndim else None, scale, integers))
    return found


def test_the_same_inputs_are_quantized_along_the_same_axes(pair: Pair) -> None:
    twin, graph = quantized(pair.of_twin), quantized(pair.of_graph)
    assert [each.where for each in twin] == [each.where for each in graph]
    assert len(twin) == len(pair.twin.places) > 4


def test_activations_have_the_same_scales(pair: Pair) -> None:
    for twin, graph in zip(quantized(pair.of_twin), quantized(pair.of_graph), strict=True):
        np.testing.assert_allclose(twin.scale, graph.scale, rtol=1e-5)


def test_weights_have_the_same_integers(pair: Pair) -> None:
    for twin, graph in zip(quantized(pair.of_twin), quantized(pair.of_graph), strict=True):
        if twin.integers is not None:
            assert twin.integers.dtype == graph.integers.dtype == np.int8
            apart = np.abs(twin.integers.astype(int) - graph.integers)
            assert apart.max() <= 1
            assert apart.mean() <= 1e-3


def test_both_graphs_give_the_same_scores(pair: Pair) -> None:
    images = pixels(64, *pair.shape, seed=7).numpy()
    twin, graph = (
        session(model, optimise=False).run(None, {"images": images})[0] for model in (pair.of_twin, pair.of_graph)
    )
    assert (twin.argmax(axis=1) == graph.argmax(axis=1)).all()
    assert np.median(np.abs(twin - graph)) <= 1e-5 * np.abs(twin).max()


def test_the_calibration_cache_names_tensors_of_the_float_graph(pair: Pair) -> None:
    tensors = {"images", *(name for node in pair.floating.graph.node for name in node.output)}
    scales = activation_scales(pair.of_twin)
    assert scales.keys() == set(activation_scales(pair.of_graph))
    assert scales.keys() <= tensors


def test_lint_says_the_same_of_both_and_finds_no_error(pair: Pair) -> None:
    twin, graph = lint(pair.of_twin), lint(pair.of_graph)
    assert [each.rule for each in twin] == [each.rule for each in graph]
    assert {each.severity for each in twin} <= {"warning"}


def test_the_sums_of_an_activation_function_are_no_residuals() -> None:
    pair = exported_pair("functional")
    assert [node.op_type for node in pair.floating.graph.node].count("Add") > 2, "GELU and the biases have some"
    assert sum(each.kind == "Add" for each in quantized(pair.of_graph)) == 2 * 2
