"""Simulated EngineInspector: the JSON of TensorRT 8 and 10, and that of 11."""

from __future__ import annotations

import json
import math
from typing import Any

from onnx import TensorProto

from tests.engines.tensorrt.simulated.behaviour import Behaviour, major, stored
from tests.engines.tensorrt.simulated.graphs import Layer, Tensor

SHORT: dict[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT8: "Int8",
    TensorProto.UINT8: "UInt8",
    TensorProto.INT32: "Int32",
    TensorProto.INT64: "Int64",
    TensorProto.BOOL: "Bool",
}
LONG = {**SHORT, TensorProto.FLOAT: "Float", TensorProto.FLOAT16: "Half", TensorProto.BFLOAT16: "BFloat16"}
KERNELS = {
    "CONVOLUTION": "CaskConvolution",
    "DECONVOLUTION": "CaskDeconvolution",
    "MATRIX_MULTIPLY": "CaskGemmMatrixMultiply",
    "POOLING": "CaskPooling",
    "QUANTIZE": "Reformat",
    "SHUFFLE": "Shuffle",
}


class EngineInspector(Behaviour):
    """Tells what an engine is made of, as far as it was built to tell."""

    def _begin(self, engine: Any) -> None:  # type: ignore[override]
        self._engine = engine

    error_recorder = stored(None)
    execution_context = stored(None)

    @property
    def _layers(self) -> list[Any]:
        layers, verbosity = self._engine._engine_layers, self._engine._header.verbosity
        if verbosity == "NONE":
            return []
        return [layer.name if verbosity == "LAYER_NAMES_ONLY" else self._described(layer) for layer in layers]

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        """Return one layer."""
        layers = self._layers
        found = layers[layer_index] if 0 <= layer_index < len(layers) else None
        return json.dumps(found) if format.name == "JSON" else str(found)

    def get_engine_information(self, format: Any) -> str:
        """Return all layers, and the names or forms of inputs and outputs."""
        if format.name != "JSON":
            return "".join(f"{layer}\n" for layer in self._layers)
        if major(self._trt) == 11:
            return json.dumps(
                {"Layers": self._layers, "I/O Tensors": [self._io(tensor) for tensor in self._engine._io]}
            )
        return json.dumps({"Layers": self._layers, "Bindings": [tensor.name for tensor in self._engine._io]})

    def _described(self, layer: Layer) -> dict[str, Any]:
        tensors = self._engine._graph.tensors
        weights = tensors.get(layer.weights)
        described = {
            "Name": layer.name,
            "LayerType": KERNELS.get(layer.kind, layer.kind.title().replace("_", "")),
            "Inputs": [self._form(tensors.get(name, Tensor(name, 0, ()))) for name in layer.inputs],
            "Outputs": [self._form(tensors.get(name, Tensor(name, 0, ()))) for name in layer.outputs],
            "ParameterType": "Reformat" if layer.kind == "QUANTIZE" else layer.kind.title().replace("_", ""),
            "TacticValue": "0x0000000000000000",
            "StreamId": 0,
            "Metadata": "\x1e".join(f"[ONNX Layer: {node}]" for node in layer.nodes),
        }
        if layer.kind == "QUANTIZE":
            described["Origin"] = "QDQ"
        if weights is not None and layer.weights in self._engine._graph.weights:
            count = math.prod(weights.shape)
            described["Weights"] = {"Type": LONG.get(weights.element_type, "Float"), "Count": count}
        return described

    def _form(self, tensor: Tensor) -> dict[str, Any]:
        short = SHORT.get(tensor.element_type, "FP32")
        form = {"Name": tensor.name, "Location": "Device", "Dimensions": list(tensor.shape)}
        if major(self._trt) == 11:
            datatype = LONG.get(tensor.element_type, "Float")
            return {**form, "Datatype": datatype, "Format": f"Row major linear {short} format (kLINEAR)"}
        return {**form, "Format/Datatype": f"Row major linear {short}"}

    def _io(self, tensor: Tensor) -> dict[str, Any]:
        is_input = tensor in self._engine._graph.inputs
        return {
            "Name": tensor.name,
            "IOMode": "Input" if is_input else "Output",
            "DataType": LONG.get(tensor.element_type, "Float"),
            "Dimensions": list(tensor.shape),
            "Location": "Device",
            "IsShapeInferenceIO": False,
        }


BEHAVIOURS: dict[str, type] = {"EngineInspector": EngineInspector}
