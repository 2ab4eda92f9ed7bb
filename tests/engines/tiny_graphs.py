"""Tiny ONNX classifiers made without torch, built engines of them, and ONNX Runtime as the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from calibration.graphs.qdq import store_integer_weights
from contracts.files import write_json
from engines.backend import EngineManifest, Precision
from engines.loading import MANIFEST, build_engine

Array = npt.NDArray[np.float32]

CLASSES = 5
SHAPE = (2, 6, 7)


def classifier(*, quantized: bool = False) -> onnx.ModelProto:
    """Return conv, ReLU, linear: `images` (batch, 2, 6, 7) to `scores` (batch, 5); quantized, with explicit Q/DQ."""
    random = np.random.default_rng(0)
    constants: dict[str, npt.NDArray[Any]] = {
        "conv.weight": random.standard_normal((8, 2, 3, 3)).astype(np.float32),
        "conv.bias": random.standard_normal(8).astype(np.float32),
        "linear.weight": random.standard_normal((CLASSES, 8 * 42)).astype(np.float32),
        "linear.bias": random.standard_normal(CLASSES).astype(np.float32),
    }
    nodes: list[onnx.NodeProto] = []

    def on_grid(tensor: str, scale: npt.NDArray[Any]) -> str:
        if not quantized:
            return tensor
        constants[f"{tensor}.scale"] = scale.astype(np.float32)
        constants[f"{tensor}.zero"] = np.zeros(scale.shape, np.int8)
        ends = [f"{tensor}.scale", f"{tensor}.zero"]
        along: dict[str, Any] = {"axis": 0} if scale.ndim else {}
        nodes.append(helper.make_node("QuantizeLinear", [tensor, *ends], [f"{tensor}.q"], **along))
        nodes.append(helper.make_node("DequantizeLinear", [f"{tensor}.q", *ends], [f"{tensor}.dq"], **along))
        return f"{tensor}.dq"

    images = on_grid("images", np.array(1 / 127))
    weight = on_grid("conv.weight", np.abs(constants["conv.weight"]).max((1, 2, 3)) / 127)
    nodes.append(helper.make_node("Conv", [images, weight, "conv.bias"], ["conv"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", ["conv"], ["relu"]))
    nodes.append(helper.make_node("Flatten", ["relu"], ["flat"]))
    flat = on_grid("flat", np.array(10 / 127))
    weight = on_grid("linear.weight", np.abs(constants["linear.weight"]).max(1) / 127)
    nodes.append(helper.make_node("Gemm", [flat, weight, "linear.bias"], ["scores"], transB=1))
    model = graph(nodes, constants)
    return store_integer_weights(model) if quantized else model


def graph(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, npt.NDArray[Any]],
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a model; inputs and outputs are shapes by name."""
    made = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, kind, shape)
            for name, shape in (inputs or {"images": ["batch", *SHAPE]}).items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (outputs or {"scores": ["batch", CLASSES]}).items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def built(backend: str, precision: Precision, folder: Path) -> EngineManifest:
    """Build the classifier's engine into `folder`, with its manifest beside it."""
    path = folder.parent / f"{folder.name}.onnx"
    onnx.save(classifier(quantized=precision == "int8"), str(path))
    folder.mkdir()
    manifest, _ = build_engine(backend, precision, path, folder, {})
    write_json(folder / MANIFEST, {"engine": manifest.to_json()})
    return manifest


def reference(model: onnx.ModelProto, images: Array) -> Array:
    """Return ONNX Runtime's scores, its optimizations off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


def pixels(n: int, seed: int = 1) -> Array:
    """Return n images in [0, 1]."""
    return np.random.default_rng(seed).random((n, *SHAPE), np.float32)
