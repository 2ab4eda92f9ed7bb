from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from contracts.errors import InputError
from engines.loading import graph_signature
from harness.models.onnx_file import read_given

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]
Change = Callable[[onnx.ModelProto], None]

SHAPE = (3, 8, 6)
IMAGES = np.random.default_rng(1).random((4, *SHAPE), np.float32)


def classifier(batch: int | str = "N", opset: int = 18, flat: list[int] | None = None) -> onnx.ModelProto:
    """Return `pixels` to `logits`: conv, batch norm, ReLU, pooling, a reshape, linear."""
    random = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "w": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "b": random.standard_normal(4).astype(np.float32),
        "gamma": random.uniform(0.5, 2, 4).astype(np.float32),
        "beta": random.standard_normal(4).astype(np.float32),
        "mean": random.standard_normal(4).astype(np.float32),
        "var": random.uniform(0.5, 2, 4).astype(np.float32),
        "flat": np.array(flat or [0, -1]),
        "head": random.standard_normal((16, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "w", "b"], ["conv"], doc_string="/home/someone/net.py", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["conv", "gamma", "beta", "mean", "var"], ["norm"]),
        helper.make_node("Relu", ["norm"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[4, 3], strides=[4, 3]),
        helper.make_node("Reshape", ["pool", "flat"], ["flattened"]),
        helper.make_node("MatMul", ["flattened", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(folder: Path, model: onnx.ModelProto, **options: Any) -> Path:
    path = folder / "given.onnx"
    onnx.save(model, str(path), **options)
    return path


def scores(model: onnx.ModelProto, images: Array) -> Array:
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21, 23])
@pytest.mark.parametrize(
    ("batch", "flat"),
    [("N", [0, -1]), ("N", [-1, 16]), (1, [1, 16]), (1, [1, -1]), (2, [2, 16]), (2, [-1, 16]), (4, [4, 0, -1])],
)
def test_a_graph_becomes_one_of_any_batch_that_computes_the_same(
    tmp_path: Path, opset: int, batch: int | str, flat: list[int]
) -> None:
    given = classifier(batch, opset, flat)
    if len(flat) == 3:
        given.graph.node.insert(5, helper.make_node("Flatten", ["flattened"], ["once more"]))
        given.graph.node[6].input[0] = "once more"
    made = read_given(saved(tmp_path, given))
    expected = np.concatenate([scores(classifier("N", opset), IMAGES[i : i + 1]) for i in range(4)])
    for n in (1, 3, 4):
        np.testing.assert_allclose(scores(made, IMAGES[:n]), expected[:n], rtol=1e-4, atol=1e-4)
    assert [value.name for value in (*made.graph.input, *made.graph.output)] == ["images", "scores"]
    assert made.opset_import[0].version == max(opset, 13)
    path = tmp_path / "made.onnx"
    onnx.save(made, str(path))
    assert graph_signature(path) == (SHAPE, 5)


def test_batch_norms_are_folded_and_traces_of_the_exporter_gone(tmp_path: Path) -> None:
    made = read_given(saved(tmp_path, classifier()))
    assert "BatchNormalization" not in {node.op_type for node in made.graph.node}
    assert b"someone" not in made.SerializeToString()


def test_weights_beside_the_file_are_read_into_the_graph(tmp_path: Path) -> None:
    path = saved(tmp_path, classifier(), save_as_external_data=True, location="weights.bin", size_threshold=0)
    made = read_given(path)
    (tmp_path / "weights.bin").unlink()
    np.testing.assert_allclose(scores(made, IMAGES), scores(classifier(), IMAGES), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="cannot be read as an ONNX graph"):
        read_given(path)


def test_old_files_that_list_weights_as_inputs(tmp_path: Path) -> None:
    model = classifier(opset=11)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    made = read_given(saved(tmp_path, model))
    assert [value.name for value in made.graph.input] == ["images"]
    np.testing.assert_allclose(scores(made, IMAGES), scores(classifier(), IMAGES), rtol=1e-4, atol=1e-4)


def test_names_that_are_ours_by_chance_change_places(tmp_path: Path) -> None:
    swapped = {"pixels": "scores", "logits": "images", "relu": "images_"}
    model = classifier()
    for value in (*model.graph.input, *model.graph.output):
        value.name = swapped[value.name]
    for node in model.graph.node:
        node.input[:] = [swapped.get(name, name) for name in node.input]
        node.output[:] = [swapped.get(name, name) for name in node.output]
    made = read_given(saved(tmp_path, model))
    np.testing.assert_allclose(scores(made, IMAGES), scores(classifier(), IMAGES), rtol=1e-4, atol=1e-4)


def test_an_inner_tensor_of_our_name_makes_room(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[2].output[0] = model.graph.node[3].input[0] = "scores"
    made = read_given(saved(tmp_path, model))
    np.testing.assert_allclose(scores(made, IMAGES), scores(classifier(), IMAGES), rtol=1e-4, atol=1e-4)


def test_functions_of_the_file_are_written_out(tmp_path: Path) -> None:
    model = classifier()
    model.functions.append(
        helper.make_function(
            "their.own", "Clamp", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 18)]
        )
    )
    model.opset_import.append(helper.make_opsetid("their.own", 1))
    model.graph.node[2].op_type, model.graph.node[2].domain = "Clamp", "their.own"
    made = read_given(saved(tmp_path, model))
    np.testing.assert_allclose(scores(made, IMAGES), scores(classifier(), IMAGES), rtol=1e-4, atol=1e-4)


def test_free_heights_and_widths_are_those_of_the_images(tmp_path: Path) -> None:
    model = classifier()
    for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]:
        dim.dim_param = "free"
    path = saved(tmp_path, model)
    made = read_given(path, SHAPE)
    assert [dim.dim_value for dim in made.graph.input[0].type.tensor_type.shape.dim] == [0, *SHAPE]
    with pytest.raises(InputError, match=r"leaves channels, height or width free \(\?, \?, \?\): give images"):
        read_given(path)


def test_images_of_another_shape_are_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"takes images of \(3, 8, 6\) but the images are \(3, 8, 8\)"):
        read_given(saved(tmp_path, classifier()), (3, 8, 8))


def input_dims(*dims: int | str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, dims))

    return change


def input_type(kind: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = kind
        model.graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT))
        model.graph.node[1].input[0] = "floats"

    return change


def weight(name: str, value: Array) -> Change:
    def change(model: onnx.ModelProto) -> None:
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(value, name))

    return change


def opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def node(position: int, kind: str, domain: str = "", **attributes: Any) -> Change:
    """Put a node between the tensor that a node reads and that node."""

    def change(model: onnx.ModelProto) -> None:
        after = model.graph.node[position]
        made = helper.make_node(kind, [after.input[0]], ["put in"], "mine", domain=domain, **attributes)
        after.input[0] = "put in"
        model.graph.node.insert(position, made)
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def another_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def another_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("relu", TensorProto.FLOAT, None))


def spatial_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("relu", TensorProto.FLOAT, ["N", 4, 8, 6]))


def rank_unknown_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("relu", TensorProto.FLOAT, None))


def decision_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["decision"], axis=1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("decision", TensorProto.INT64, ["N", 1]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (opset(10), "has opset 10, and 11 to 23 are read: export"),
        (opset(24), "has opset 24, and 11 to 23 are read: export"),
        (another_input, "must have one input, the images, found pixels, mask: export"),
        (another_output, "must have one output, the scores, found logits, relu: export"),
        (spatial_output, "the output relu has 4 dimensions: export scores"),
        (rank_unknown_output, "the output relu has 4 dimensions: export scores"),
        (decision_output, "the output decision is int64: export the float32 scores"),
        (input_type(TensorProto.UINT8), "takes pixels as uint8: export it with an input of float32"),
        (input_dims("N", 3, 48), r"takes pixels with 3 dimensions: export it"),
        (input_dims("N", 8, 6, 3), r"seems to take pixels as \(batch, height, width, channels\): export"),
        (input_dims("N", "h", "w", 3), r"seems to take pixels as \(batch, height, width, channels\): export"),
        (node(2, "QuantizeLinear"), r"quantized already \(node 'mine' is QuantizeLinear\): give"),
        (node(2, "DynamicQuantizeLinear"), r"quantized already \(node 'mine' is DynamicQuantizeLinear\): give"),
        (node(2, "QGemm", "com.microsoft"), r"quantized already \(node 'mine' is QGemm\): give"),
        (node(2, "Gelu", "com.microsoft"), r"operator Gelu of the domain 'com.microsoft' \(node 'mine'\).*: export"),
        (node(2, "Cast", to=TensorProto.FLOAT16), r"casts to float16 \(put in\): export"),
        (node(2, "NoSuchOperator"), "is no valid ONNX graph .*NoSuchOperator.*: export"),
        (weight("w", np.full((4, 3, 3, 3), np.nan, np.float32)), "the weight w holds NaN or infinity: train"),
        (weight("head", np.full((16, 5), np.inf, np.float32)), "the weight head holds NaN or infinity: train"),
        (weight("w", np.ones((4, 3, 3, 3), np.float16)), "the weight w is float16: export"),
        (weight("w", np.ones((4, 3, 3, 3), np.float64)), "the weight w is float64: export"),
        (weight("w", np.full((4, 3, 3, 3), 1e38, np.float32)), "not finite for random images, first in conv: export"),
        (weight("flat", np.array([1, -1])), "does not compute each image of a batch by itself: export"),
    ],
)
def test_what_is_no_float_classifier_is_refused(tmp_path: Path, change: Change, why: str) -> None:
    model = classifier()
    change(model)
    with pytest.raises(InputError, match=why) as refused:
        read_given(saved(tmp_path, model))
    assert "given.onnx" in str(refused.value)


def test_a_batch_size_that_cannot_be_freed_is_refused(tmp_path: Path) -> None:
    model = classifier(2, flat=[2, 16])
    model.graph.node.insert(5, helper.make_node("Expand", ["token", "sizes"], ["tokens"]))
    model.graph.node.insert(6, helper.make_node("Concat", ["flattened", "tokens"], ["joined"], axis=1))
    model.graph.node[7].input[0] = "joined"
    more = {"token": np.ones((1, 2), np.float32), "sizes": np.array([2, 2]), "head": np.ones((18, 5), np.float32)}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name == "head"]:
        model.graph.initializer.remove(tensor)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in more.items())
    with pytest.raises(InputError, match="has its batch size of 2 built in: export it with a free batch size"):
        read_given(saved(tmp_path, model))


def test_a_graph_that_mixes_its_images_is_refused(tmp_path: Path) -> None:
    model = classifier()
    axes: dict[str, Any] = {"axes": [0], "keepdims": 1}
    model.opset_import[0].version = 17
    model.graph.node.append(helper.make_node("ReduceMean", ["logits"], ["average"], **axes))
    model.graph.node.append(helper.make_node("Sub", ["logits", "average"], ["centred"]))
    model.graph.output[0].name = "centred"
    with pytest.raises(InputError, match="does not compute each image of a batch by itself: export"):
        read_given(saved(tmp_path, model))


def test_infinity_in_a_mask_is_no_broken_weight(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["shares"], axis=1))
    model.graph.node.append(helper.make_node("Max", ["shares", "floor"], ["kept"]))
    model.graph.initializer.append(numpy_helper.from_array(np.full(5, -np.inf, np.float32), "floor"))
    model.graph.output[0].name = "kept"
    np.testing.assert_allclose(scores(read_given(saved(tmp_path, model)), IMAGES).sum(1), 1.0, rtol=1e-5)


def test_files_that_are_no_graphs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file: name an ONNX graph"):
        read_given(tmp_path / "absent.onnx")
    (tmp_path / "torn.onnx").write_bytes(classifier().SerializeToString()[:500])
    with pytest.raises(InputError, match=r"torn\.onnx"):
        read_given(tmp_path / "torn.onnx")
