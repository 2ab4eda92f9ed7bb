"""Small networks of named layers, and a build that corrupts one of them: a fault that is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from calibration.graphs.qdq import store_integer_weights
from engines.backend import EngineManifest, Precision, Report, unheard
from engines.loading import build_engine
from tests.engines.tiny_graphs import CLASSES, SHAPE, graph

WIDTH = 4


class Network:
    """Nodes and constants as they are added; quantized, with a Q/DQ pair before whatever a layer reads."""

    def __init__(self, *, quantized: bool = False, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._quantized = quantized
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, npt.NDArray[Any]] = {}

    def add(self, operator: str, read: list[str], made: str, **attributes: Any) -> str:
        """Add a node that is named as its output."""
        self._nodes.append(helper.make_node(operator, read, [made], made, **attributes))
        return made

    def conv(self, read: str, made: str, channels: int = WIDTH) -> str:
        """Add a convolution whose outputs are about as large as its inputs."""
        weight = self._random.standard_normal((WIDTH, channels, 3, 3)) / 3
        return self._layer("Conv", read, made, weight, WIDTH, {"pads": [1, 1, 1, 1]})

    def scores(self, read: str) -> onnx.ModelProto:
        """Add the linear layer and return the network."""
        flat = self.add("Flatten", [read], "flat")
        weight = self._random.standard_normal((CLASSES, WIDTH * SHAPE[1] * SHAPE[2])) / 8
        self._layer("Gemm", flat, "scores", weight, CLASSES, {"transB": 1})
        made = graph(self._nodes, self._constants)
        return store_integer_weights(made) if self._quantized else made

    def _layer(
        self, operator: str, read: str, made: str, weight: npt.NDArray[Any], outputs: int, attributes: dict[str, Any]
    ) -> str:
        self._constants[f"{made}.weight"] = weight.astype(np.float32)
        self._constants[f"{made}.bias"] = (self._random.standard_normal(outputs) / 4).astype(np.float32)
        read = self._on_grid(read, 4.0 if read != "images" else 1.0)
        return self.add(operator, [read, self._on_grid(f"{made}.weight", 1.5), f"{made}.bias"], made, **attributes)

    def _on_grid(self, tensor: str, largest: float) -> str:
        if not self._quantized:
            return tensor
        self._constants[f"{tensor}.scale"] = np.asarray(largest / 127, np.float32)
        self._constants[f"{tensor}.zero"] = np.zeros((), np.int8)
        ends = [f"{tensor}.scale", f"{tensor}.zero"]
        self.add("QuantizeLinear", [tensor, *ends], f"{tensor}.q")
        return self.add("DequantizeLinear", [f"{tensor}.q", *ends], f"{tensor}.dq")


def chain(layers: int, *, quantized: bool = False, relu: bool = False) -> onnx.ModelProto:
    """Return convolutions `conv0`, `conv1`, … one after the other, and a linear layer `scores`."""
    network = Network(quantized=quantized)
    last = network.conv("images", "conv0", SHAPE[0])
    for index in range(1, layers):
        last = network.conv(network.add("Relu", [last], f"relu{index}") if relu else last, f"conv{index}")
    return network.scores(last)


def branches() -> onnx.ModelProto:
    """Return a block of three branches that are added, twice, with layers before and after."""
    network = Network()
    last = network.conv("images", "before", SHAPE[0])
    for block in ("a", "b"):
        one = network.conv(last, f"{block}.one")
        two = network.conv(network.conv(last, f"{block}.two0"), f"{block}.two1")
        last = network.add("Add", [network.add("Add", [one, two], f"{block}.sum"), last], f"{block}.residual")
    return network.scores(network.conv(last, "after"))


class CorruptBuild:
    """Builds an engine of the graph with one layer's weights (or their scale) doubled; a graph without it is whole."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.builds = 0

    def __call__(
        self,
        backend: str,
        precision: Precision,
        graph: Path,
        folder: Path,
        options: Mapping[str, Any],
        report: Report = unheard,
    ) -> tuple[EngineManifest, Mapping[str, Any] | None]:
        """See `engines.loading.build_engine`."""
        self.builds += 1
        model = onnx.load(str(graph))
        names = (f"{self._node}.weight.scale", f"{self._node}.weight")
        stored = {tensor.name: tensor for tensor in model.graph.initializer}
        tensor = next((stored[name] for name in names if name in stored), None)
        if tensor is not None:
            tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), tensor.name))
        corrupt = graph.with_name("corrupt.onnx")
        onnx.save(model, str(corrupt))
        return build_engine(backend, precision, corrupt, folder, options, report)
