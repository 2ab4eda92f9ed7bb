from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from calibration.graphs.insert import insert, weight_scales
from calibration.graphs.operations import operations
from calibration.rules import Place, places
from contracts.errors import InputError
from tests.calibration.graphs.float_graphs import GRAPHS, OPSETS, Sketch, images, tied

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]


def run(model: onnx.ModelProto, shown: Array, tensors: Sequence[str] = (), *, optimise: bool = False) -> list[Array]:
    import onnxruntime as ort

    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    given = {value.name for value in (*model.graph.input, *model.graph.output)}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in given)
    options = ort.SessionOptions()
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"images": shown})]


def on_openvino(model: onnx.ModelProto, shown: Array) -> Array:
    import openvino as ov

    compiled = ov.compile_model(ov.Core().read_model(model.SerializeToString()), "CPU")
    return np.asarray(compiled(shown)[0])


def calibrated(model: onnx.ModelProto, found: Sequence[Place]) -> dict[str, float]:
    """Return the scales of the largest magnitudes over some images."""
    tensors = list(dict.fromkeys(place.tensor for place in found if place.axis is None))
    inner = [tensor for tensor in tensors if tensor not in ("images", "scores")]
    values = dict(zip(inner, run(model, images(32), inner)[1:], strict=True)) | {"images": images(32)}
    return {tensor: float(np.abs(values[tensor]).max()) / 127 for tensor in tensors}


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    found = places(operations(model))
    return insert(model, found, calibrated(model, found))


@pytest.mark.parametrize("opset", OPSETS[1:])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_int8_graph_computes_nearly_what_the_float_graph_does(name: str, opset: int) -> None:
    model = GRAPHS[name](opset)
    before = model.SerializeToString()
    made = quantized(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(made, full_check=True)
    shown = images(16, seed=2)
    expected = run(model, shown)[0]
    for scores in (run(made, shown)[0], run(made, shown, optimise=True)[0], on_openvino(made, shown)):
        error = np.linalg.norm(scores - expected) / np.linalg.norm(expected - expected.mean())
        assert 0.0 < error < 0.08


@pytest.mark.parametrize("name", GRAPHS)
def test_every_place_reads_dequantizelinear_and_weights_are_int8(name: str) -> None:
    model = GRAPHS[name](18)
    found = places(operations(model))
    made = insert(model, found, calibrated(model, found))
    makers = {output: node for node in made.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in made.graph.initializer}
    consumers = {node.name: node for node in made.graph.node}
    for place in found:
        dequantize = makers[consumers[place.operation].input[place.position]]
        assert dequantize.op_type == "DequantizeLinear"
        if place.axis is None:
            assert makers[dequantize.input[0]].input[0] == place.tensor
        else:
            assert constants[dequantize.input[0]].data_type == TensorProto.INT8
            assert constants[dequantize.input[1]].dims == [constants[dequantize.input[0]].dims[place.axis]]
        assert not numpy_helper.to_array(constants[dequantize.input[2]]).any()
    assert not {place.tensor for place in found if place.axis is not None} & set(constants)
    assert "Constant" not in {node.op_type for node in made.graph.node}, "nobody reads the float weight any more"
    zero_points = [node.input[2] for node in made.graph.node if node.op_type == "DequantizeLinear"]
    assert len(set(zero_points)) == len(zero_points)


def test_a_tensor_is_quantized_once_and_others_read_it_in_float() -> None:
    made = quantized(GRAPHS["residual"](18))
    sources = [node.input[0] for node in made.graph.node if node.op_type == "QuantizeLinear"]
    assert len(sources) == len(set(sources))
    (sigmoid,) = (node for node in made.graph.node if node.op_type == "Sigmoid")
    assert sigmoid.input[0] in sources


def test_a_weight_of_two_nodes_is_stored_once_an_axis() -> None:
    model = tied(18)
    found = places(operations(model))
    made = insert(model, found, calibrated(model, found))
    integers = [
        tensor.name for tensor in made.graph.initializer if tensor.data_type == TensorProto.INT8 and tensor.dims
    ]
    assert sum(name.startswith("square") and "quantized" in name for name in integers) == 2 + 2  # and zero points
    scales = weight_scales(model, found)
    assert [(name, axis) for name, (_, axis) in scales.items()] == [("square", 1), ("square along 0", 0), ("head", 1)]
    np.testing.assert_allclose(run(made, images(4))[0], run(model, images(4))[0], atol=0.02)


def test_weight_scales_are_those_in_the_graph() -> None:
    model = GRAPHS["attention"](18)
    found = places(operations(model))
    made = insert(model, found, calibrated(model, found))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    scales = weight_scales(model, found)
    assert set(scales) == {"patches", "query", "key_transposed", "value", "head"}
    for name, (scale, _) in scales.items():
        assert scale.dtype == np.float32
        np.testing.assert_array_equal(constants[f"{name}_scale"], scale)
        assert np.abs(constants[f"{name}_quantized"].astype(int)).max() == 127


@pytest.mark.parametrize(
    ("channels", "dead"), [(slice(3, 4), 0.0), (slice(3, 4), 1e-30), (slice(3, 4), 1e-7), (slice(None), 0.0)]
)
def test_a_channel_of_next_to_nothing_still_gives_its_bias(channels: slice, dead: float) -> None:
    s = Sketch(18)
    s.weight("dead", 8, 4, 3, 3)
    s.constants["dead"][channels] = dead
    x = s("Relu", s("Conv", "images", "dead", s.constant("bias", np.arange(8) * 1.0)))
    x = s("Relu", s("Conv", x, s.weight("second", 8, 8, 1, 1), s.weight("second_bias", 8)))
    s("Gemm", s.mean(x, [2, 3]), s.weight("head", 5, 8), to="scores", transB=1)
    model = s.model()
    made = quantized(model)
    expected = run(model, images(8))[0]
    for scores in (run(made, images(8))[0], run(made, images(8), optimise=True)[0], on_openvino(made, images(8))):
        np.testing.assert_allclose(scores, expected, atol=0.03 * np.abs(expected).max())


def test_names_that_are_taken_are_not_taken_again() -> None:
    s = Sketch(18)
    x = s("Relu", "images", to="images_quantized")
    x = s("Conv", "images", s.weight("images_scale", 4, 4, 1, 1))
    x = s("Add", x, "images_quantized", to="images_dequantized")
    s("MatMul", s("Flatten", x), s.weight("head", 256, 5), to="scores")
    model = s.model()
    made = quantized(model)
    onnx.checker.check_model(made, full_check=True)
    np.testing.assert_allclose(run(made, images(4))[0], run(model, images(4))[0], atol=0.2)


@pytest.mark.parametrize("scale", [None, 0.0, -1.0, float("nan"), float("inf"), 1e-60])
def test_a_scale_that_is_missing_or_unusable_is_refused(scale: float | None) -> None:
    model = GRAPHS["residual"](18)
    found = places(operations(model))
    scales: dict[str, Any] = calibrated(model, found) | {"images": scale}
    if scale is None:
        del scales["images"]
    with pytest.raises(InputError, match=r"for the tensor images: calibrate this graph"):
        insert(model, found, scales)


def test_places_of_another_graph_are_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="no node of this graph has the name elsewhere"):
        insert(GRAPHS["residual"](18), [Place("elsewhere", "Conv", 0, "images", None)], {"images": 1.0})


def test_a_graph_without_scales_per_channel_is_refused() -> None:
    with pytest.raises(InputError, match="opset 11 but a scale per channel needs 13"):
        insert(GRAPHS["residual"](11), [], {})
