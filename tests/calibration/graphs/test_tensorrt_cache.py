from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs.tensorrt_cache import activation_scales, cache_text, read_cache_text
from contracts.errors import InputError

pytestmark = pytest.mark.core

NAMES = st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1)
SCALES = st.floats(2.0**-126, 2.0**100, width=32)


def test_scales_are_written_as_the_digits_of_a_single() -> None:
    assert cache_text({"input": 0.007874016, "conv1": 1.0}, version=8501) == (
        "TRT-8501-EntropyCalibration2\ninput: 3c010204\nconv1: 3f800000\n"
    )


@given(st.dictionaries(NAMES, SCALES))
def test_what_is_read_is_what_was_written(scales: dict[str, float]) -> None:
    assert read_cache_text(cache_text(scales)) == scales


@pytest.mark.parametrize("text", ["", "relu: 3c010204", "TRT-8601-EntropyCalibration2\nrelu", "TRT-1-E\nrelu: zz"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="no TensorRT calibration cache"):
        read_cache_text(text)


def test_the_scales_of_a_graph_are_those_of_its_activations() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node("QuantizeLinear", ["weight", "scale", "zero"], ["wq"]),
        helper.make_node("DequantizeLinear", ["wq", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
    ]
    constants = {"scale": np.float32(0.25), "zero": np.int8(0), "weight": np.ones((4, 3), np.float32)}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    assert activation_scales(helper.make_model(graph)) == {"images": 0.25}
