"""From a given float graph to a table and to Q/DQ, with ONNX Runtime showing the activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from calibration.graphs.float_graph import FloatGraph
from calibration.graphs.operations import operations
from calibration.observers import CALIBRATORS
from calibration.table import CalibrationTable
from contracts.errors import InputError
from tests.calibration.graphs.float_graphs import CLASSES, GRAPHS, Sketch, images, tied

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]


def run(model: onnx.ModelProto, shown: Array, *tensors: str, optimise: bool = False) -> list[Array]:
    import onnxruntime as ort

    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    options = ort.SessionOptions()
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run([*tensors] or ["scores"], {"images": shown})]


def calibrated(given: FloatGraph, calibrator: str = "minmax") -> CalibrationTable:
    def show(batch: Array) -> Iterator[tuple[str, Array]]:
        inner = [name for name in given.activations if name != "images"]
        yield "images", batch
        yield from zip(inner, run(given.model, batch, *inner), strict=True)

    return given.calibrate(show, [images(8), images(8, seed=2)], calibrator, "clean", tuple(range(16)))


@pytest.mark.parametrize("draw", [*GRAPHS.values(), tied])
def test_a_calibrated_graph_can_be_built_and_computes_nearly_the_same(draw: Callable[[int], onnx.ModelProto]) -> None:
    given = FloatGraph.of(draw(18))
    made = given.quantized(calibrated(given))
    expected, found = run(given.model, images(4))[0], run(made, images(4))[0]
    assert found.shape == (4, CLASSES)
    np.testing.assert_allclose(found, expected, atol=0.1 * np.abs(expected).max())


def test_a_weight_whose_shape_onnx_cannot_infer_is_quantized() -> None:
    s = Sketch(18)
    shape = s("Abs", s.constant("sizes", np.array([-4, -5])))
    weight = s("Reshape", s.weight("flat", 20), shape, to="head")
    s("MatMul", s.mean("images", [2, 3]), weight, to="scores")
    given = FloatGraph.of(s.model())
    table = calibrated(given)
    assert table.tensors["head"].shape == (4, 5)
    made = given.quantized(table)
    np.testing.assert_allclose(run(made, images(4))[0], run(given.model, images(4))[0], atol=0.1)


def test_a_weight_along_two_axes_has_two_entries_in_the_table() -> None:
    table = calibrated(FloatGraph.of(tied(18)))
    axes = {name: entry.axis for name, entry in table.tensors.items() if entry.axis is not None}
    assert axes == {"square": 1, "square along 0": 0, "head": 1}


@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_a_layer_that_reads_nothing_but_zeros_still_gives_its_bias(calibrator: str) -> None:
    s = Sketch(18)
    low = s.constant("low", np.full(4, -100.0))
    x = s("Relu", s("Conv", "images", s.weight("first", 4, 4, 1, 1), low), to="dead")
    bias = s.constant("bias", np.array([0.5, -0.5, 1.0, 2.0]))
    x = s("Conv", x, s.weight("second", 4, 4, 1, 1), bias)
    s("Gemm", s.mean(x, [2, 3]), s.weight("head", 5, 4), to="scores", transB=1)
    given = FloatGraph.of(s.model())
    table = calibrated(given, calibrator)
    assert table.tensors["dead"].scales == (1 / 127,)
    made = given.quantized(table)
    (expected,) = run(given.model, images(4))
    for optimise in (False, True):
        np.testing.assert_allclose(run(made, images(4), optimise=optimise)[0], expected, atol=0.05)


def test_only_layers_that_are_quantized_can_be_kept_in_float() -> None:
    model = GRAPHS["residual"](17)
    quantized = {place.operation for place in FloatGraph.of(model).places}
    kept = min(quantized)
    assert {place.operation for place in FloatGraph.of(model, [kept]).places} == quantized - {kept}
    others = {operation.name for operation in operations(model)} - quantized
    with pytest.raises(InputError, match=r"unknown layer in quantize\.keep_float"):
        FloatGraph.of(model, [min(others)])
