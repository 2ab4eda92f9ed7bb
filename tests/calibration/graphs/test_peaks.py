from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from calibration.graphs.peaks import observed_peaks
from calibration.graphs.typed import tensors, typed
from contracts.errors import InputError
from tests.calibration.graphs.float_graphs import Sketch, images

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]


def shown(*batches: dict[str, list[float]]) -> dict[str, float]:
    def run(batch: Array) -> Iterator[tuple[str, Array]]:
        yield from ((name, np.array(values, np.float32)) for name, values in batches[int(batch)].items())

    return observed_peaks(run, [np.array(index) for index in range(len(batches))], ["x", "y"])


def test_a_peak_is_the_largest_finite_magnitude_of_all_batches() -> None:
    assert shown({"x": [1.0, -3.0], "other": [9.0]}, {"x": [2.0], "y": []}) == {"x": 3.0, "y": 0.0}
    assert shown({"x": [np.inf, 2.0, -np.inf, -5.0]}, {"y": [-np.inf]}) == {"x": 5.0, "y": 0.0}


@pytest.mark.parametrize("others", [[], [np.inf, 1.0], [-np.inf]])
def test_a_value_that_is_no_number_is_refused_with_the_tensor_s_name(others: list[float]) -> None:
    with pytest.raises(InputError, match="the tensor y becomes NaN"):
        shown({"x": [1.0], "y": [*others, np.nan]})


def masked_attention() -> onnx.ModelProto:
    """One head over 16 patches, each of which sees those before it; the mask is added as -inf."""
    s = Sketch(18)
    x = s("Conv", "images", s.weight("patches", 8, 4, 2, 2), strides=[2, 2])
    x = s("Transpose", s("Reshape", x, s.constant("tokens", np.array([0, 8, 16]))), perm=[0, 2, 1])
    key = s("Transpose", s("MatMul", x, s.weight("key", 8, 8)), perm=[0, 2, 1])
    mask = s.constant("mask", np.triu(np.full((16, 16), -np.inf), 1))
    x = s("MatMul", s("Softmax", s("Add", s("MatMul", x, key), mask, to="masked"), axis=-1), x)
    s("MatMul", s.mean(x, [1]), s.weight("head", 8, 5), to="scores")
    return s.model()


def test_masked_attention_is_half_as_a_whole() -> None:
    import onnxruntime as ort

    model = masked_attention()
    names = tensors(model)
    exposed = onnx.ModelProto.FromString(model.SerializeToString())
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in ("images", "scores"))
    session = ort.InferenceSession(exposed.SerializeToString(), providers=["CPUExecutionProvider"])
    made = [value.name for value in session.get_outputs()]

    def run(batch: Array) -> Iterator[tuple[str, Array]]:
        yield "images", batch
        yield from zip(made, session.run(made, {"images": batch}), strict=True)

    peaks = observed_peaks(run, [images(8)], names)
    assert 0.0 < peaks["masked"] < 1e3
    graph = typed(model, "fp16", peaks)
    assert graph.kept_float == ()
    half = ort.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected, found = (each.run(["scores"], {"images": images(4)})[0] for each in (session, half))
    np.testing.assert_allclose(found, expected, atol=0.01)
