"""The torch backend's reader of ONNX against ONNX Runtime with its optimizations off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from contracts.errors import InputError
from engines.torch.program import TorchProgram

torch = pytest.importorskip("torch")

Array = npt.NDArray[Any]
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def graph(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, Array], shape: Sequence[int | str], opset: int
) -> onnx.ModelProto:
    """Return a model from `x` to `y`, both float32; the output's rank is left open."""
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reference(model: onnx.ModelProto, images: Array) -> Array:
    """Return ONNX Runtime's answer, with its optimizations off."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def run(model: onnx.ModelProto, images: Array, dtype: str = "float32", device: str = "cpu") -> Array:
    return np.asarray(TorchProgram(model, dtype, device)(torch.from_numpy(images)).cpu().numpy())


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def floats(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


@dataclass(frozen=True)
class Case:
    """One operator on one input: `inputs` are the constants after `x`, None for one left out."""

    op_type: str
    shape: tuple[int, ...] = (2, 3, 7, 9)
    inputs: tuple[Array | None, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18

    def __str__(self) -> str:
        settings = ",".join(f"{name}={value}" for name, value in self.attributes.items())
        return f"{self.op_type}-{self.opset}({settings};{len(self.inputs)})".replace(" ", "")

    def model(self) -> onnx.ModelProto:
        names = [f"c{i}" if value is not None else "" for i, value in enumerate(self.inputs)]
        constants = {f"c{i}": value for i, value in enumerate(self.inputs) if value is not None}
        node = helper.make_node(self.op_type, ["x", *names], ["y"], name="node", **self.attributes)
        return graph([node], constants, self.shape, self.opset)


def scalar(value: float) -> Array:
    return np.array(value, np.float32)


CONV = normal(4, 3, 3, 3, seed=1)
UP = normal(3, 4, 3, 3, seed=2)
PER_CHANNEL = tuple(normal(3, seed=seed) for seed in range(3))
POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}
UNEVEN = {"pads": [0, 1, 2, 0]}

WINDOWS = [
    Case("Conv", inputs=(CONV, normal(4)), attributes={"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    Case("Conv", inputs=(CONV,), attributes={"pads": [0, 1, 2, 3], "dilations": [2, 1]}),
    Case("Conv", inputs=(CONV,), attributes={"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", (1, 3, 8, 8), (CONV,), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", (1, 3, 8, 8), (CONV,), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    Case("Conv", inputs=(CONV,), attributes={"auto_pad": "VALID"}),
    Case("Conv", (2, 6, 7, 9), (CONV,), {"group": 2, "kernel_shape": [3, 3]}),
    Case("Conv", (2, 3, 9), (normal(4, 3, 3),), {"pads": [2, 0], "strides": [2]}),
    Case("Conv", (1, 3, 5, 6, 7), (normal(4, 3, 3, 2, 2), normal(4)), {"pads": [1, 0, 0, 1, 1, 1]}),
    Case("ConvTranspose", inputs=(UP, normal(4)), attributes={"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("ConvTranspose", inputs=(UP,), attributes={"strides": [2, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]}),
    Case("ConvTranspose", inputs=(UP,), attributes={"strides": [2, 2], "pads": [0, 1, 1, 0]}),
    Case("ConvTranspose", inputs=(UP,), attributes={"strides": [2, 2], "output_shape": [14, 18]}),
    Case("ConvTranspose", inputs=(UP,), attributes={"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    Case("ConvTranspose", inputs=(UP,), attributes={"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    Case("ConvTranspose", (2, 4, 5), (normal(4, 3, 3),), {"group": 2, "dilations": [2]}),
    Case("MaxPool", attributes={**POOL, "pads": [1, 1, 1, 1]}),
    Case("MaxPool", attributes={**POOL, **UNEVEN}),
    Case("MaxPool", (1, 2, 8, 8), attributes={**POOL, "ceil_mode": 1}),
    Case("MaxPool", (1, 2, 8, 8), attributes={**POOL, **UNEVEN, "ceil_mode": 1}),
    Case("MaxPool", (1, 2, 6, 6), attributes={"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1}),
    Case("MaxPool", attributes={"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 1, 1, 1]}),
    Case("MaxPool", (1, 2, 8, 8), attributes={**POOL, "auto_pad": "SAME_UPPER"}),
    Case("MaxPool", (1, 2, 8, 8), attributes={**POOL, "auto_pad": "SAME_LOWER"}),
    Case("MaxPool", (1, 2, 9), attributes={"kernel_shape": [3], "pads": [2, 2]}),
    Case("MaxPool", (1, 2, 5, 6, 7), attributes={"kernel_shape": [2, 2, 2], "strides": [1, 2, 2]}),
    *(
        Case("AveragePool", (1, 2, 8, 8), attributes={**POOL, **more, "count_include_pad": counted}, opset=19)
        for counted in (0, 1)
        for more in (
            {"pads": [1, 1, 1, 1]},
            {"pads": [1, 1, 1, 1], "ceil_mode": 1},
            UNEVEN,
            {**UNEVEN, "ceil_mode": 1},
            {"auto_pad": "SAME_LOWER"},
            {"dilations": [2, 1], "pads": [1, 1, 1, 1]},
        )
    ),
    Case("AveragePool", (2, 3, 9), attributes={"kernel_shape": [2]}),
    Case("AveragePool", (1, 2, 5, 6, 7), attributes={"kernel_shape": [2, 2, 2], "ceil_mode": 1, "strides": [2, 2, 2]}),
]

SHAPES = [
    Case("Reshape", inputs=(ints(0, -1),)),
    Case("Reshape", (0, 3, 4), (ints(0, 6),), {"allowzero": 1}),
    Case("Reshape", inputs=(ints(2, 0, 63),), attributes={"allowzero": 0}),
    Case("Flatten"),
    Case("Flatten", attributes={"axis": -2}),
    Case("Flatten", attributes={"axis": 0}),
    Case("Transpose"),
    Case("Transpose", attributes={"perm": [0, 2, 3, 1]}),
    Case("Concat", inputs=(normal(2, 3, 7, 1),), attributes={"axis": -1}),
    Case("Squeeze", (2, 1, 3, 1), opset=11),
    Case("Squeeze", (2, 1, 3, 1), attributes={"axes": [-1]}, opset=11),
    Case("Squeeze", (2, 1, 3, 1), (ints(1, -1),)),
    Case("Squeeze", (2, 1, 3, 1)),
    Case("Unsqueeze", (2, 3), attributes={"axes": [-1, 0]}, opset=11),
    Case("Unsqueeze", (2, 3), (ints(2, 0),)),
    Case("Unsqueeze", (2, 3), (ints(-1, -3),)),
    Case("Gather", inputs=(np.array(-1, np.int64),), attributes={"axis": -1}),
    Case("Gather", inputs=(ints(0, -2, -1),), attributes={"axis": 1}),
    Case("Gather", inputs=(np.array([[0, -1], [1, 0]], np.int32),), attributes={"axis": 2}),
    Case("Slice", inputs=(ints(1), ints(INT64_MAX), ints(-1), ints(3))),
    Case("Slice", inputs=(ints(-1), ints(INT64_MIN), ints(3), ints(-2))),
    Case("Slice", inputs=(ints(5, 0), ints(1, 1), ints(2, 1), ints(-1, 1))),
    Case("Slice", inputs=(ints(0, 1), ints(1, -1))),
    Case("Slice", inputs=(ints(-3), ints(100), ints(2))),
    Case("Expand", (2, 1, 3), (ints(4, 1, 5, 1),)),
    Case("Pad", inputs=(ints(0, 0, 1, 2, 0, 0, 3, 4),)),
    Case("Pad", inputs=(ints(0, 0, -1, 2, 0, 1, 3, -4), scalar(0.5))),
    Case("Pad", inputs=(ints(1, 2, 0, 3), scalar(-1), ints(-1, 2)), attributes={"mode": "constant"}),
    Case("Identity"),
    Case("Dropout"),
    Case("Dropout", attributes={"ratio": 0.9}, opset=11),
    Case("Dropout", inputs=(scalar(0.9),)),
]

ARITHMETIC = [
    *(Case(op, inputs=(normal(3, 1, 1, seed=5),)) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum")),
    *(Case(op) for op in ("Neg", "Abs", "Exp", "Reciprocal", "Erf", "Tanh", "Sigmoid", "Relu", "Softplus", "Mish")),
    *(Case(op) for op in ("Floor", "Ceil", "HardSwish", "GlobalAveragePool", "GlobalMaxPool")),
    Case("Max", inputs=(normal(3, 1, 1), normal(9, seed=4))),
    Case("Mod", inputs=(scalar(-0.7),), attributes={"fmod": 1}),
    Case("Pow", inputs=(scalar(2),)),
    Case("Pow", inputs=(ints(3),)),
    Case("LeakyRelu"),
    Case("LeakyRelu", attributes={"alpha": 0.3}),
    Case("PRelu", inputs=(normal(3, 1, 1),)),
    Case("Elu", attributes={"alpha": 0.7}),
    Case("HardSigmoid"),
    Case("HardSigmoid", attributes={"alpha": 1 / 6, "beta": 0.4}),
    Case("Gelu", opset=20),
    Case("Gelu", attributes={"approximate": "tanh"}, opset=20),
    Case("Clip", inputs=(None, scalar(0.5))),
    Case("Clip", inputs=(scalar(-0.5),)),
    Case("Clip", inputs=(scalar(0.5), scalar(-0.5))),
    Case("Clip"),
    Case("Softmax"),
    Case("Softmax", attributes={"axis": 1}),
    Case("Softmax", opset=11),
    Case("Softmax", attributes={"axis": 2}, opset=11),
    Case("LogSoftmax", attributes={"axis": -2}),
    Case("LogSoftmax", attributes={"axis": -2}, opset=11),
]

LAYERS = [
    Case("MatMul", inputs=(normal(9, 4),)),
    Case("MatMul", inputs=(normal(9),)),
    Case("Gemm", (2, 5), (normal(5, 4), normal(4))),
    Case("Gemm", (2, 5), (normal(4, 5),), {"transB": 1, "alpha": 0.5}),
    Case("Gemm", (5, 2), (normal(4, 5), normal(2, 1)), {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", (2, 5), (normal(5, 4), scalar(3))),
    Case("BatchNormalization", inputs=(*PER_CHANNEL, np.square(normal(3)) + 0.1), attributes={"epsilon": 1e-3}),
    Case("InstanceNormalization", inputs=PER_CHANNEL[:2], attributes={"epsilon": 1e-3}),
    Case("LayerNormalization", inputs=(normal(9), normal(9, seed=1))),
    Case("LayerNormalization", inputs=(normal(7, 9),), attributes={"axis": -2, "epsilon": 1e-2}),
    Case("LayerNormalization", inputs=(normal(7, 9),), attributes={"axis": 2}),
    Case("GroupNormalization", (2, 6, 4), (normal(2), normal(2, seed=1)), {"num_groups": 2}),
    Case("GroupNormalization", (2, 6, 4), (normal(6), normal(6, seed=1)), {"num_groups": 2}, opset=21),
]

REDUCTIONS = [
    *(Case(op, attributes={"axes": [-1, 1]}, opset=11) for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")),
    *(Case(op, inputs=(ints(-1, 1),), attributes={"keepdims": 0}) for op in ("ReduceMean", "ReduceMax", "ReduceProd")),
    Case("ReduceSum", attributes={"axes": [2]}, opset=11),
    Case("ReduceSum", inputs=(ints(-2),)),
    Case("ReduceSum"),
    Case("ReduceProd", attributes={"keepdims": 0}),
    Case("ReduceMean", attributes={"keepdims": 0}),
    Case("ReduceSum", inputs=(ints(),), attributes={"noop_with_empty_axes": 1}),
    Case("ReduceMean", attributes={"noop_with_empty_axes": 1}),
]


@pytest.mark.parametrize("case", [*WINDOWS, *SHAPES, *ARITHMETIC, *LAYERS, *REDUCTIONS], ids=str)
def test_operator_agrees_with_onnx_runtime(case: Case) -> None:
    images = normal(*case.shape, seed=7)
    expected, scores = reference(case.model(), images), run(case.model(), images)
    assert scores.shape == expected.shape
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op_type", ["Sqrt", "Log"])
def test_operator_of_positive_values_agrees(op_type: str) -> None:
    model, images = Case(op_type).model(), np.abs(normal(2, 3, 7, 9)) + 0.1
    np.testing.assert_allclose(run(model, images), reference(model, images), rtol=1e-6)


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), name=f"{op_type}-{outputs}", **attributes)


SPLITS = [
    ([node("Split", "x sizes", "a b", axis=1), node("Concat", "b a", "y", axis=1)], {"sizes": ints(2, 1)}, 18),
    ([node("Split", "x", "a b", axis=-2, num_outputs=2), node("Concat", "b a", "y", axis=2)], {}, 18),
    ([node("Split", "x", "a b c", axis=1), node("Sub", "a c", "y")], {}, 13),
    ([node("Split", "x", "a b", axis=2, split=[3, 4]), node("Identity", "b", "y")], {}, 11),
]


@pytest.mark.parametrize(("nodes", "constants", "opset"), SPLITS)
def test_split_agrees_with_onnx_runtime(nodes: list[onnx.NodeProto], constants: dict[str, Array], opset: int) -> None:
    model, images = graph(nodes, constants, (2, 3, 7, 9), opset), normal(2, 3, 7, 9)
    np.testing.assert_array_equal(run(model, images), reference(model, images))


SHAPE_ARITHMETIC = [
    # as older exporters flatten: the batch from Shape, the rest from constants
    (
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "n"),
            node("Unsqueeze", "n front", "n1"),
            node("Concat", "n1 rest", "t", axis=0),
            node("Reshape", "x t", "y"),
        ],
        {"zero": np.array(0, np.int64), "front": ints(0), "rest": ints(-1)},
    ),
    # a class token expanded to the batch, through Where, Equal and ConstantOfShape
    (
        [
            node("Shape", "x", "n", start=0, end=1),
            node("Concat", "n minus", "wanted", axis=0),
            node("Shape", "wanted", "rank"),
            node("ConstantOfShape", "rank", "ones", value=numpy_helper.from_array(ints(1))),
            node("Equal", "wanted minus", "open"),
            node("Where", "open ones wanted", "t"),
            node("Expand", "token t", "y"),
        ],
        {"minus": ints(-1), "token": normal(1, 4)},
    ),
    # integers that become floats, and a division that must truncate
    (
        [
            node("Shape", "x", "s", start=-2),
            node("Div", "s two", "half"),
            node("Cast", "half", "f", to=TensorProto.FLOAT),
            node("ReduceProd", "f", "area", keepdims=0),
            node("Div", "x area", "y"),
        ],
        {"two": ints(2)},
    ),
    # the sign of a remainder, and truth values
    (
        [
            node("Shape", "x", "s", start=-2),
            node("Mod", "s minus", "m"),
            node("Less", "m s", "yes"),
            node("Greater", "m s", "no"),
            node("Not", "no", "also"),
            node("And", "yes also", "both"),
            node("Or", "both no", "any"),
            node("Where", "any m s", "chosen"),
            node("Cast", "chosen", "f", to=TensorProto.FLOAT),
            node("ReduceSum", "f", "sum", keepdims=0),
            node("Mul", "x sum", "y"),
        ],
        {"minus": ints(-3)},
    ),
    # positions from Range, a mask from Cast, Constant and ConstantOfShape, floats among them
    (
        [
            node("Shape", "x", "s", start=-1),
            node("Squeeze", "s", "width"),
            node("Range", "zero width one", "i"),
            node("Cast", "i", "position", to=TensorProto.FLOAT),
            node("Constant", "", "limit", value_float=4.5),
            node("Min", "position limit", "low"),
            node("Cast", "low", "whole", to=TensorProto.INT64),
            node("Equal", "whole i", "near"),
            node("ConstantOfShape", "s", "nothing"),
            node("Where", "near x nothing", "y"),
        ],
        {"zero": np.array(0, np.int64), "one": np.array(1, np.int64)},
    ),
]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("nodes", "constants"), SHAPE_ARITHMETIC)
def test_shape_arithmetic_follows_the_batch(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], batch: int
) -> None:
    model, images = graph(nodes, constants, ("n", 2, 5, 7), 18), normal(batch, 2, 5, 7)
    np.testing.assert_allclose(run(model, images), reference(model, images), rtol=1e-6)


@pytest.mark.parametrize(
    "attributes",
    [{"value_floats": [1.5, -2.0]}, {"value_float": 3.0}, {"value": numpy_helper.from_array(floats(0.5, 2.0))}],
    ids=lambda attributes: next(iter(attributes)),
)
def test_constant_agrees_with_onnx_runtime(attributes: dict[str, Any]) -> None:
    model = graph([node("Constant", "", "c", **attributes), node("Mul", "x c", "y")], {}, (3, 2), 18)
    np.testing.assert_array_equal(run(model, normal(3, 2)), reference(model, normal(3, 2)))


def test_constant_integers_serve_as_a_shape() -> None:
    model = graph([node("Constant", "", "c", value_ints=[3, -1]), node("Reshape", "x c", "y")], {}, (2, 3, 4), 18)
    assert run(model, normal(2, 3, 4)).shape == (3, 8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_graph_rounds_to_that_type_throughout(dtype: str) -> None:
    nodes = [node("Cast", "x", "wide", to=TensorProto.FLOAT), node("Add", "wide c", "sum"), node("Mul", "sum d", "y")]
    model = graph(nodes, {"c": floats(1.0, 2.0), "d": floats(1 / 3)}, ("n", 2), 18)
    images = normal(4, 2)
    half = getattr(torch, dtype)
    x = torch.from_numpy(images).to(half)
    expected = ((x + torch.tensor([1.0, 2.0], dtype=half)) * torch.tensor([1 / 3], dtype=half)).float().numpy()
    scores = run(model, images, dtype)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, expected)


def test_half_precision_weights_and_input_are_read() -> None:
    import ml_dtypes

    model = graph([node("Mul", "x c", "y")], {"c": floats(0.5, 2.0).astype(ml_dtypes.bfloat16)}, ("n", 2), 18)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    np.testing.assert_array_equal(run(model, floats(1, 1)[None]), floats(0.5, 2.0)[None])


def test_local_functions_are_inlined() -> None:
    body = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    model = graph([helper.make_node("Twice", ["x"], ["y"], domain="mine")], {}, (1, 2), 18)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.append(body)
    np.testing.assert_array_equal(run(model, floats(1, 2)[None]), floats(2, 4)[None])


def test_constants_are_computed_at_load_and_intermediate_tensors_freed() -> None:
    nodes = [
        node("Exp", "c", "e"),
        node("Mul", "x e", "a"),
        node("Add", "a x", "b"),
        node("Dropout", "b", "d mask"),
        node("Relu", "d", "y"),
    ]
    program = TorchProgram(graph(nodes, {"c": floats(0.0, 1.0)}, (1, 2), 18))
    assert list(program._constants) == ["e"]
    assert [step.finished for step in program._steps] == [(), ("a", "x"), ("b", "mask"), ("d",)]
    first = program(torch.ones(1, 2))
    assert torch.equal(first, program(torch.ones(1, 2)))
    assert not first.requires_grad


def test_path_with_external_weights_is_read_and_a_model_without_them_refused(tmp_path: Path) -> None:
    model = Case("MatMul", (2, 9), (normal(9, 64),)).model()
    expected = reference(model, normal(2, 9))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    program = TorchProgram(tmp_path / "m.onnx")
    np.testing.assert_allclose(program(torch.from_numpy(normal(2, 9))).numpy(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="file of their own"):
        TorchProgram(onnx.load(tmp_path / "m.onnx", load_external_data=False))
    (tmp_path / "weights").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        TorchProgram(tmp_path / "m.onnx")


def quantized() -> onnx.ModelProto:
    scale = {"s": scalar(0.1), "z": np.array(0, np.int8)}
    return graph([node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")], scale, (1, 2), 18)


def two_inputs() -> onnx.ModelProto:
    model = graph([node("Add", "x z", "y")], {}, (1, 2), 18)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 2)))
    return model


def two_outputs() -> onnx.ModelProto:
    model = graph([node("Relu", "x", "y")], {}, (1, 2), 18)
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2)))
    return model


def integer_input() -> onnx.ModelProto:
    model = graph([node("Cast", "x", "y", to=TensorProto.FLOAT)], {}, (1, 2), 18)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


def foreign() -> onnx.ModelProto:
    return graph([helper.make_node("Gelu", ["x"], ["y"], name="g", domain="com.microsoft")], {}, (1, 2), 18)


REFUSED = [
    (quantized(), "'QuantizeLinear-q' is QuantizeLinear.*openvino, onnxruntime or tensorrt"),
    (two_inputs(), r"one input, and this one has 2 \(x, z\)"),
    (two_outputs(), "one output, and this one has 2"),
    (integer_input(), "floating input, and 'x' is INT64"),
    (foreign(), "cannot run operator com.microsoft.Gelu of node 'g'"),
    (Case("Round").model(), "cannot run operator Round of node 'node': use one of the other backends"),
    (Case("Pad", inputs=(ints(*[1] * 8),), attributes={"mode": "reflect"}).model(), "mode is 'reflect'"),
    (Case("Relu", attributes={"invented": 1}).model(), "operator Relu of node 'node'.*invented"),
    (Case("Add").model(), "operator Add of node 'node'.*missing"),
    (Case("Relu", opset=9).model(), "opset 11 or newer and this graph has 9"),
    (graph([node("MaxPool", "x", "p y", kernel_shape=[2, 2])], {}, (1, 1, 4, 4), 18), "more than its first output"),
    (graph([node("Add", "x nowhere", "y")], {}, (1, 2), 18), "reads 'nowhere', which nothing before it gives"),
    (graph([node("Relu", "x", "z")], {}, (1, 2), 18), "nothing gives its output 'y'"),
    (Case("Mul", inputs=(floats(1).astype("complex64"),)).model(), "tensor 'c0' of type COMPLEX64"),
    (Case("Cast", attributes={"to": TensorProto.FLOAT8E4M3FN}, opset=19).model(), "to is"),
]


@pytest.mark.parametrize(("model", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_torch_cannot_run_is_refused_at_load(model: onnx.ModelProto, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        TorchProgram(model)


def test_unknown_dtype_unreadable_file_and_unfit_images_are_input_errors(tmp_path: Path) -> None:
    model = Case("MatMul", (2, 9), (normal(9, 4),)).model()
    with pytest.raises(InputError, match="did you mean 'float16'"):
        TorchProgram(model, "float-16")
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"m\.onnx cannot be read as an ONNX model"):
        TorchProgram(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"node 'node' .* shapes \[2, 8\], \[9, 4\]"):
        TorchProgram(model)(torch.zeros(2, 8))


def test_importing_the_package_loads_neither_torch_nor_onnx() -> None:
    code = "import sys, engines.torch.program; print([n for n in ('torch', 'onnx') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"


def _classifier(name: str) -> object:
    import torchvision

    torch.manual_seed(0)
    if name == "vit":
        model = torchvision.models.VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10
        )
        torch.nn.init.normal_(model.heads.head.weight)  # zeros, as torchvision makes them, would hide everything
    else:
        model = getattr(torchvision.models, name)(num_classes=10)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return model.eval()


def _exported(name: str) -> onnx.ModelProto:
    program = torch.onnx.export(
        _classifier(name),
        (torch.zeros(2, 3, 32, 32),),
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit"])
def test_exported_classifier_agrees_in_every_precision(name: str) -> None:
    model = _exported(name)
    for batch in (1, 3):
        images = np.random.default_rng(batch).random((batch, 3, 32, 32), np.float32)
        expected = reference(model, images)
        scores = run(model, images)
        assert scores.shape == (batch, 10)
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
        spread = np.ptp(expected)
        for dtype, tolerance in (("float16", 0.01), ("bfloat16", 0.08)):
            assert np.abs(run(model, images, dtype) - expected).max() < tolerance * spread, dtype


@pytest.mark.parametrize("case", [*WINDOWS, *SHAPES, *ARITHMETIC, *LAYERS, *REDUCTIONS], ids=str)
def test_operator_keeps_to_its_device(case: Case) -> None:
    """On torch's meta device, which computes shapes only, a tensor from the CPU is refused as on a GPU."""
    images = normal(*case.shape)
    scores = TorchProgram(case.model(), device="meta")(torch.from_numpy(images))
    assert (scores.device.type, scores.shape) == ("meta", run(case.model(), images).shape)


@pytest.mark.parametrize(("nodes", "constants"), SHAPE_ARITHMETIC)
def test_shape_arithmetic_stays_off_the_device(nodes: list[onnx.NodeProto], constants: dict[str, Array]) -> None:
    """The meta device has no values, so that a shape computed on it could not be read."""
    model, images = graph(nodes, constants, ("n", 2, 5, 7), 18), normal(3, 2, 5, 7)
    scores = TorchProgram(model, device="meta")(torch.from_numpy(images))
    assert (scores.device.type, scores.shape) == ("meta", run(model, images).shape)


@pytest.mark.gpu
@pytest.mark.parametrize("case", [*WINDOWS, *SHAPES, *ARITHMETIC, *LAYERS, *REDUCTIONS], ids=str)
def test_operator_agrees_on_a_gpu(case: Case) -> None:
    images = normal(*case.shape, seed=7)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        on_gpu = run(case.model(), images, device="cuda")
    np.testing.assert_allclose(on_gpu, run(case.model(), images), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("nodes", "constants"), SHAPE_ARITHMETIC)
def test_shape_arithmetic_agrees_on_a_gpu(nodes: list[onnx.NodeProto], constants: dict[str, Array], batch: int) -> None:
    model, images = graph(nodes, constants, ("n", 2, 5, 7), 18), normal(batch, 2, 5, 7)
    np.testing.assert_allclose(run(model, images, device="cuda"), run(model, images), rtol=1e-5)
