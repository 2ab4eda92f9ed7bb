"""Small float classifiers made by hand, of the shapes that quantization must handle, in any opset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

OPSETS = (11, 13, 17, 18, 21, 23)
SHAPE = (4, 8, 8)
CLASSES = 5


class Sketch:
    """A graph being drawn: `images` (batch, 4, 8, 8) comes in, every call adds a node and returns its output."""

    def __init__(self, opset: int, seed: int = 0) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self._random = np.random.default_rng(seed)

    def weight(self, name: str, *shape: int) -> str:
        """Add a random weight, of unit variance where it is multiplied by as many inputs as it has."""
        return self.constant(name, self._random.standard_normal(shape) / np.sqrt(np.prod(shape) / max(shape)))

    def constant(self, name: str, value: Any) -> str:
        array = np.asarray(value)
        self.constants[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
        return name

    def __call__(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        output = to or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def mean(self, tensor: str, axes: list[int], keepdims: int = 0) -> str:
        if self.opset < 18:
            return self("ReduceMean", tensor, axes=axes, keepdims=keepdims)
        return self("ReduceMean", tensor, self.constant(f"{tensor}_axes", axes), keepdims=keepdims)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *SHAPE])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        onnx.checker.check_model(made, full_check=True)
        return made


def depthwise(opset: int) -> onnx.ModelProto:
    """Pointwise, depthwise, a mean over the pixels, linear with its weight (out, in)."""
    s = Sketch(opset)
    x = s("Relu", s("Conv", "images", s.weight("expand", 8, 4, 1, 1), s.weight("expand_bias", 8)))
    x = s("Relu", s("Conv", x, s.weight("depthwise", 8, 1, 3, 3), group=8, pads=[1, 1, 1, 1]))
    x = s.mean(x, [2, 3])
    s("Gemm", x, s.weight("head", CLASSES, 8), s.weight("head_bias", CLASSES), to="scores", transB=1)
    return s.model()


def grouped(opset: int) -> onnx.ModelProto:
    """Grouped and transposed convolutions, global pooling, linear with its weight (in, out)."""
    s = Sketch(opset)
    x = s("Relu", s("Conv", "images", s.weight("grouped", 8, 2, 3, 3), group=2, strides=[2, 2]))
    x = s("ConvTranspose", x, s.weight("transposed", 8, 3, 3, 3), s.weight("transposed_bias", 6), group=2)
    x = s("Flatten", s("GlobalAveragePool", x))
    s("Gemm", x, s.weight("head", 6, CLASSES), to="scores", alpha=0.5)
    return s.model()


def residual(opset: int) -> onnx.ModelProto:
    """Two sums, one written as Sum; the first one's input goes on in float as well; MatMul and a bias."""
    s = Sketch(opset)
    stem = s("Relu", s("Conv", "images", s.weight("stem", 8, 4, 3, 3), pads=[1, 1, 1, 1]))
    x = s("Conv", stem, s.weight("first", 8, 8, 3, 3), pads=[1, 1, 1, 1])
    x = s("Relu", s("Add", x, stem))
    x = s("Sum", s("Sigmoid", stem), s("Conv", x, s.weight("second", 8, 8, 1, 1)))
    x = s("Flatten", s("AveragePool", x, kernel_shape=[4, 4], strides=[4, 4]))
    s("Add", s("MatMul", x, s.weight("head", 32, CLASSES)), s.weight("head_bias", CLASSES), to="scores")
    return s.model()


def concatenated(opset: int) -> onnx.ModelProto:
    """An average pool beside a convolution, joined along the channels."""
    s = Sketch(opset)
    pool = s("AveragePool", "images", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    conv = s("Relu", s("Conv", "images", s.weight("branch", 6, 4, 3, 3), pads=[1, 1, 1, 1]))
    x = s("Concat", s("Conv", pool, s.weight("pooled", 2, 4, 1, 1)), conv, axis=1)
    x = s.mean(x, [-1, -2], keepdims=1)
    s("Gemm", s("Flatten", x), s.weight("head", CLASSES, 8), to="scores", transB=1)
    return s.model()


def attention(opset: int) -> onnx.ModelProto:
    """Patches, one attention head whose weights are computed from constants, a mean over the patches, linear."""
    s = Sketch(opset)
    x = s("Conv", "images", s.weight("patches", 8, 4, 2, 2), strides=[2, 2])
    x = s("Reshape", x, s.constant("tokens", np.array([0, 8, 16])))
    x = s("Transpose", x, perm=[0, 2, 1])
    x = s("Add", x, s.weight("positions", 1, 16, 8))
    s.weight("key", 8, 8)
    value = numpy_helper.from_array(np.random.default_rng(5).standard_normal((8, 8)).astype(np.float32))
    query = s("MatMul", x, s.weight("query", 8, 8))
    key = s("MatMul", x, s("Transpose", "key", perm=[1, 0], to="key_transposed"))
    weights = s("Softmax", s("MatMul", query, s("Transpose", key, perm=[0, 2, 1])), axis=-1)
    x = s("MatMul", weights, s("MatMul", x, s("Constant", to="value", value=value)))
    s("MatMul", s.mean(x, [1]), s.weight("head", 8, CLASSES), to="scores")
    return s.model()


def tied(opset: int) -> onnx.ModelProto:
    """Three layers of one square weight, whose output channels lie along its second axis twice and then its first."""
    s = Sketch(opset)
    x = s.mean("images", [2, 3])
    s.weight("square", 4, 4)
    x = s("Sigmoid", s("MatMul", x, "square"))
    x = s("Sigmoid", s("MatMul", x, "square"))
    x = s("Gemm", x, "square", transB=1)
    s("MatMul", x, s.weight("head", 4, CLASSES), to="scores")
    return s.model()


GRAPHS: dict[str, Callable[[int], onnx.ModelProto]] = {
    made.__name__: made for made in (depthwise, grouped, residual, concatenated, attention)
}


def images(n: int, seed: int = 1) -> npt.NDArray[np.float32]:
    """Return n images in [0, 1]."""
    return np.random.default_rng(seed).random((n, *SHAPE), np.float32)
