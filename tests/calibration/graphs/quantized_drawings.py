"""Graphs with Q/DQ drawn by hand, and what changes one of their nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Model = onnx.ModelProto
Array = npt.NDArray[Any]
SCALE = np.float32(0.02)


class Drawing:
    """A graph in the making: a node's output has the node's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def pair(self, tensor: str) -> str:
        ends = [self.constant(f"{tensor}.s", SCALE), self.constant(f"{tensor}.z", np.int8(0))]
        self.node("QuantizeLinear", [tensor, *ends], f"{tensor}.q")
        return self.node("DequantizeLinear", [f"{tensor}.q", *ends], f"{tensor}.dq")

    def weight(self, layer: str, shape: tuple[int, ...], axis: int) -> str:
        integers = np.random.default_rng(0).integers(-127, 128, shape, np.int8)
        scales, zeros = np.full(shape[axis], SCALE), np.zeros(shape[axis], np.int8)
        parts = {"i": integers, "s": scales, "z": zeros}
        names = [self.constant(f"{layer}.w.{part}", value) for part, value in parts.items()]
        return self.node("DequantizeLinear", names, f"{layer}.w.dq", axis=axis)

    def model(self, channels: int = 3, scores: list[str] | None = None) -> Model:
        graph = helper.make_graph(
            self.nodes,
            "drawing",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", channels, 8, 8])],
            [helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, scores)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def residual(width: int = 16) -> Model:
    """Return a residual network with Q/DQ where they belong."""
    draw = Drawing()
    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    stem = draw.node("Conv", [draw.pair("images"), draw.weight("stem", (width, 3, 3, 3), 0)], "stem", **square)
    skip = draw.pair(draw.node("Relu", [stem], "stem.relu"))
    body = draw.node("Conv", [skip, draw.weight("body", (width, width, 3, 3), 0)], "body", **square)
    total = draw.node("Add", [draw.pair(body), skip], "add")
    pool = draw.node("GlobalAveragePool", [draw.pair(draw.node("Relu", [total], "add.relu"))], "pool")
    flat = draw.pair(draw.node("Flatten", [pool], "flat"))
    draw.node("Gemm", [flat, draw.weight("head", (10, width), 0)], "head", transB=1)
    return draw.model(scores=["batch", "classes"])


def find(model: Model, name: str) -> onnx.NodeProto:
    (found,) = [node for node in model.graph.node if node.name == name]
    assert isinstance(found, onnx.NodeProto)
    return found


def store(model: Model, **constants: Any) -> None:
    """Put constants into the graph, over those that have their names; "__" stands for a point."""
    for name, value in ((name.replace("__", "."), value) for name, value in constants.items()):
        for old in [tensor for tensor in model.graph.initializer if tensor.name == name]:
            model.graph.initializer.remove(old)
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def read(model: Model, name: str, position: int, tensor: str) -> None:
    """Let a node read another tensor."""
    node = find(model, name)
    node.input.extend([""] * (position + 1 - len(node.input)))
    node.input[position] = tensor


def between(model: Model, name: str, *nodes: onnx.NodeProto) -> None:
    """Put nodes in front of one, which then reads the last of them."""
    index = next(index for index, node in enumerate(model.graph.node) if node.name == name)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(index + offset, node)
    read(model, name, 0, nodes[-1].output[0])


def requantize(model: Model, tensor: str, name: str) -> None:
    """Put a Q/DQ pair between a tensor and a node."""
    draw = Drawing()
    draw.pair(tensor)
    store(model, **draw.constants)
    between(model, name, *draw.nodes)
