from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from contracts.errors import InputError
from engines.onnxruntime.activations import activations
from tests.engines.tiny_graphs import classifier, graph, pixels, reference

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]


def test_fused_nodes_give_the_same_values_up_to_roundings() -> None:
    names = ["relu", "conv", "scores"]
    fused = dict(activations(classifier(), names, optimise=True)(pixels(5)))
    for name, values in activations(classifier(), names)(pixels(5)):
        np.testing.assert_allclose(fused[name], values, rtol=1e-5, atol=1e-5)


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


def seen(shown: Iterator[tuple[str, Array]]) -> dict[str, list[Array]]:
    found: dict[str, list[Array]] = {}
    for name, values in shown:
        found.setdefault(name, []).append(values)
    return found


@pytest.mark.parametrize(
    ("limit_images", "runs"), [(0.5, [1] * 7), (2, [2, 2, 2, 1]), (6.9, [6, 1]), (7, [7]), (None, [7])]
)
def test_no_run_holds_more_than_the_limit_but_for_one_image(limit_images: float | None, runs: list[int]) -> None:
    model, images = classifier(), pixels(7)
    names = ["images", "conv", "relu"]
    whole = dict(activations(model, names, limit_bytes=None)(images))
    image_bytes = sum(whole[name].nbytes for name in ("conv", "relu")) // 7
    limit = None if limit_images is None else int(limit_images * image_bytes)
    show = activations(model, names, limit_bytes=limit)
    for _ in range(2):
        found = seen(show(images))
        assert [len(values) for values in found["images"]] == [7]
        for name in ("conv", "relu"):
            assert [len(values) for values in found[name]] == runs
            np.testing.assert_allclose(np.concatenate(found[name]), whole[name], rtol=1e-5, atol=1e-5)


def test_a_graph_of_one_batch_size_runs_whole_batches() -> None:
    nodes = [helper.make_node("Relu", ["images"], ["relu"]), helper.make_node("Flatten", ["relu"], ["scores"])]
    model = graph(nodes, {}, outputs={"scores": [3, 84]})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    assert [len(values) for _, values in activations(model, ["relu"], limit_bytes=1)(pixels(3))] == [3]


def test_a_tensor_of_another_graph_is_refused() -> None:
    with pytest.raises(InputError, match="computes no tensor 'elsewhere'"):
        activations(classifier(), ["relu", "elsewhere"])
