"""A user's own ONNX classifier, made without torch, and pictures that it gets right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

CLASSES = 10
SIDE = 8
CHANNELS = 8

PATTERNS = (np.random.default_rng(0).random((CLASSES, SIDE, SIDE)) < 0.5).astype(np.float32)
_SAME = np.zeros((3, 3), np.float32)
_SAME[1, 1] = 1.0


def classifier(sizes: tuple[Any, Any] = (SIDE, SIDE), opset: int = 18) -> onnx.ModelProto:
    """Return `pixels` to `logits`: a convolution that keeps the picture, ReLU, and a linear layer of the patterns.

    Args:
        sizes: height and width, as numbers or as names of free dimensions.
        opset: of ONNX.
    """
    random = np.random.default_rng(1)
    kernels = (0.05 * random.standard_normal((CHANNELS, 1, 3, 3))).astype(np.float32)
    kernels[0, 0] += _SAME
    weight = np.zeros((CLASSES, CHANNELS, SIDE, SIDE), np.float32)
    weight[:, 0] = PATTERNS - PATTERNS.mean((1, 2), keepdims=True)
    constants = {
        "conv.weight": kernels,
        "conv.bias": np.zeros(CHANNELS, np.float32),
        "head.weight": weight.reshape(CLASSES, -1),
        "head.bias": np.zeros(CLASSES, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "conv.weight", "conv.bias"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], "relu"),
        helper.make_node("Flatten", ["relu"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, *sizes])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def altered(weight: str, index: Any, value: float) -> onnx.ModelProto:
    """Return the classifier with some of a weight's values replaced."""
    model = classifier()
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == weight]
    values = numpy_helper.to_array(tensor).copy()
    values[index] = value
    tensor.CopyFrom(numpy_helper.from_array(values, weight))
    return model


def pictures(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Return noisy patterns, float32 (count, 1, 8, 8) in [0, 1], and their classes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    noise = random.random((count, SIDE, SIDE))
    return (0.3 * PATTERNS[labels] + 0.7 * noise).astype(np.float32)[:, np.newaxis], labels


def write_given(folder: Path) -> None:
    """Write model.onnx, images.npz, which has no labels, and test.npz, which has."""
    onnx.save(classifier(), str(folder / "model.onnx"))
    np.savez(folder / "images.npz", images=pictures(40, seed=1)[0])
    train, test = pictures(50, seed=2), pictures(100, seed=3)
    np.savez(folder / "test.npz", images=train[0], labels=train[1], test_images=test[0], test_labels=test[1])
