"""Simulated ONNX parser: refuses what TensorRT's refuses, in its words where TensorRT-RTX 1.7 was heard saying them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper

from tests.engines.tensorrt.simulated.behaviour import Behaviour, major, say, stored
from tests.engines.tensorrt.simulated.graphs import graph_of
from tests.engines.tensorrt.simulated.recorded_classes import make

REFUSED = {"Det", "StringNormalizer", "TfIdfVectorizer", "MaxUnpool", "OptionalGetElement", "SequenceMap"}
UINT8 = (
    "TensorRT supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA (version >= 3.16). "
    "Defaulting to INT8 instead. To import as UINT8, set the kIMPORT_UINT8_QUANTIZATION flag."
)


@dataclass(frozen=True)
class Fault:
    """One error: `code` is an `ErrorCode`, `function` the parser's own that found it, `node` -1 for the whole model."""

    code: str
    description: str
    function: str
    node: int = -1
    name: str = ""
    operator: str = ""


class ParserError(Behaviour):
    """One error, as the bindings show it."""

    def _begin(self, fault: Fault) -> None:  # type: ignore[override]
        self._fault = fault

    def code(self) -> Any:
        """Return the kind of error."""
        return getattr(self._trt.ErrorCode, self._fault.code)

    def desc(self) -> str:
        """Return what is wrong."""
        return self._fault.description

    def file(self) -> str:
        """Return the parser's source file."""
        return "simulated.cpp"

    def line(self) -> int:
        """Return a line of it."""
        return 1

    def func(self) -> str:
        """Return the function that found it."""
        return self._fault.function

    def node(self) -> int:
        """Return the node's number."""
        return self._fault.node

    def node_name(self) -> str:
        """Return the node's own name, empty if it has none."""
        return self._fault.name

    def node_operator(self) -> str:
        """Return the node's operator."""
        return self._fault.operator

    def local_function_stack(self) -> list[str]:
        """Return no functions."""
        return []

    def local_function_stack_size(self) -> int:
        """Return that there are none."""
        return 0

    def __repr__(self) -> str:
        fault = self._fault
        where = f"node {fault.node} with name: {fault.name} and operator: {fault.operator}"
        return f"In {where} ({fault.function}): {fault.code}: {fault.description}"


def fault_of(node: Any, constants: dict[str, Any], version: int) -> tuple[str, str, str] | None:
    """Return what is wrong with a node as (code, description, function)."""
    if node.op_type in REFUSED:
        return "UNSUPPORTED_NODE", "false", f"check{node.op_type}"
    if node.domain not in {"", "ai.onnx"} or not onnx.defs.has(node.op_type):
        text = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
        return "INVALID_NODE" if version > 8 else "UNSUPPORTED_NODE", text, "checkFallbackPluginImporter"
    if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is not None and np.any(numpy_helper.to_array(zero)):
            text = "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported."
            return "INVALID_NODE", text, "buildZeroPointTensor"
        stored = constants.get(node.input[0])
        if stored is not None and stored.data_type == TensorProto.INT32:
            kinds = "Int8" if version == 8 else "FP8, FP4, Int4, Int8, or UInt8"
            text = f"Invalid Node - {node.name}\n{node.name}: input has type Int32 but must have type {kinds}."
            return "INVALID_NODE", text, "parseNode"
    types = {constants[name].data_type for name in node.input if name in constants}
    if version == 8 and TensorProto.BFLOAT16 in types:
        return "UNSUPPORTED_NODE", "Assertion failed: convertDtype(onnxType, &trtType): Unsupported type", "parseNode"
    return None


def signed(model: onnx.ModelProto) -> list[str]:
    """Take uint8 zero points for int8, as TensorRT does; return the nodes where it warns."""
    zeros = {
        node.input[2]: node.name
        for node in model.graph.node
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"} and len(node.input) > 2
    }
    found = []
    for tensor in model.graph.initializer:
        if tensor.name in zeros and tensor.data_type == TensorProto.UINT8:
            values = numpy_helper.to_array(tensor).view(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
            found.append(zeros[tensor.name])
    return found


class OnnxParser(Behaviour):
    """Fills a network from ONNX."""

    def _begin(self, network: Any, logger: Any) -> None:  # type: ignore[override]
        self._network, self._logger = network, logger
        self._faults: list[Fault] = []

    flags = stored(1)  # NATIVE_INSTANCENORM is on by default
    num_errors = property(lambda self: len(self._faults))

    def set_flag(self, flag: Any) -> None:
        """Set a flag."""
        self._flags = self.flags | 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        """Clear a flag."""
        self._flags = self.flags & ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        """Return whether a flag is set."""
        return bool(self.flags & 1 << int(flag))

    def get_error(self, index: int) -> Any:
        """Return an error, None beyond the last."""
        return make(self._trt.ParserError, self._faults[index]) if 0 <= index < len(self._faults) else None

    def clear_errors(self) -> None:
        """Forget all errors."""
        self._faults = []

    def supports_operator(self, op_name: str) -> bool:
        """Return whether an operator can be parsed."""
        return bool(onnx.defs.has(op_name)) and op_name not in REFUSED

    def parse(self, model: Any, path: str | None = None) -> bool:
        """Parse serialized ONNX; `path` is where its external data lie beside."""

        def load() -> onnx.ModelProto:
            loaded = onnx.load_model_from_string(bytes(model))
            if path is not None:
                onnx.load_external_data_for_model(loaded, str(Path(path).parent))
            return loaded

        return self._parse(load)

    def parse_from_file(self, model: str) -> bool:
        """Parse an ONNX file."""
        return self._parse(lambda: onnx.load(model))

    def _parse(self, load: Callable[[], onnx.ModelProto]) -> bool:
        try:
            model = load()
        except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
            text = "Assertion failed: model->ParseFromCodedStream(&codedInput): Failed to parse the ONNX model."
            return self._refuse([Fault("MODEL_DESERIALIZE_FAILED", f"{text} ({error})", "deserializeOnnxModel")])
        if not model.graph.node:
            return self._refuse([Fault("MODEL_DESERIALIZE_FAILED", "Failed to parse the ONNX model.", "parse")])
        if not self._network._is_explicit:
            text = (
                "Assertion failed: !_importer_ctx.network()->hasImplicitBatchDimension() && This version of the ONNX "
                "parser only supports TensorRT INetworkDefinitions with an explicit batch dimension. Please ensure the "
                "network was created using the EXPLICIT_BATCH NetworkDefinitionCreationFlag."
            )
            return self._refuse([Fault("INVALID_VALUE", text, "importModel")])
        if faults := list(self._found(model)):
            return self._refuse(faults[:1] if major(self._trt) == 8 else faults)  # version 8 stops at the first
        for node in signed(model):
            say(self._logger, "WARNING", f"{node}: {UINT8}")
        self._network._graph = graph_of(model)
        self._network._name = model.graph.name or self._network.name
        return True

    def _found(self, model: onnx.ModelProto) -> Iterator[Fault]:
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for index, node in enumerate(model.graph.node):
            if wrong := fault_of(node, constants, major(self._trt)):
                yield Fault(*wrong, index, node.name, node.op_type)

    def _refuse(self, faults: list[Fault]) -> bool:
        self._faults += faults
        for fault in faults:
            say(self._logger, "ERROR", f"In node {fault.node} ({fault.function}): {fault.code}: {fault.description}")
        return False


BEHAVIOURS: dict[str, type] = {"OnnxParser": OnnxParser, "ParserError": ParserError}
