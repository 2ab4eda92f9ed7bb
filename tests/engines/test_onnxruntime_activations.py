from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny_graphs import classifier, graph, pixels, reference

from contracts.errors import InputError
from engines.onnxruntime import activations

pytestmark = pytest.mark.core


def test_inner_tensors_are_what_the_nodes_compute(tmp_path: Path) -> None:
    model = classifier()
    path = tmp_path / "graph.onnx"
    onnx.save(model, str(path))
    images = pixels(7)
    for given in (model, path):
        found = dict(activations(given, ["scores", "relu", "images", "conv", "relu"], threads=1)(images))
        assert set(found) == {"images", "conv", "relu", "scores"}
        assert found["images"] is images
        np.testing.assert_array_equal(found["relu"], np.maximum(found["conv"], 0.0))
        assert found["conv"].min() < 0.0
        np.testing.assert_array_equal(found["scores"], reference(model, images))
        weight = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        linear = found["relu"].reshape(7, -1) @ weight["linear.weight"].T + weight["linear.bias"]
        np.testing.assert_allclose(found["scores"], linear, rtol=1e-3, atol=1e-3)
    assert [value.name for value in model.graph.output] == ["scores"], "the caller's graph stays as it was"


def test_batches_of_any_size_and_no_tensor_but_the_images() -> None:
    show = activations(classifier(), ["images"])
    assert [[name for name, _ in show(pixels(n))] for n in (1, 3)] == [["images"], ["images"]]


def test_a_tensor_that_is_no_float_comes_as_it_is() -> None:
    nodes = [helper.make_node("Shape", ["images"], ["shape"]), helper.make_node("Flatten", ["images"], ["scores"])]
    model = graph(nodes, {}, outputs={"scores": ["batch", 84]})
    assert dict(activations(model, ["shape"])(pixels(3)))["shape"].tolist() == [3, 2, 6, 7]


def test_a_tensor_of_another_graph_is_refused() -> None:
    with pytest.raises(InputError, match="computes no tensor 'elsewhere'"):
        activations(classifier(), ["relu", "elsewhere"])
