"""Simulated INetworkDefinition: filled by the parser alone, read by the builder."""

from __future__ import annotations

from typing import Any

from tests.engines.tensorrt.simulated.behaviour import Behaviour, say, stored
from tests.engines.tensorrt.simulated.foundations import dims
from tests.engines.tensorrt.simulated.graphs import DATA_TYPES, Graph, Layer, Tensor, network_layers
from tests.engines.tensorrt.simulated.recorded_classes import make


def data_type(trt: Any, element_type: int) -> Any:
    """Return the `DataType` of an ONNX element type; what a version does not know becomes INT32, as its parser does."""
    kinds = trt.DataType.__members__
    return kinds.get(DATA_TYPES.get(element_type, "FLOAT"), kinds["INT32"])


class ITensor(Behaviour):
    """A tensor of a network."""

    def _begin(self, tensor: Tensor, graph: Graph) -> None:  # type: ignore[override]
        self._tensor, self._graph = tensor, graph

    name = property(lambda self: self._tensor.name)
    shape = property(lambda self: dims(self._trt, self._tensor.shape))
    dtype = property(lambda self: data_type(self._trt, self._tensor.element_type))
    is_network_input = property(lambda self: self._tensor in self._graph.inputs)
    is_network_output = property(lambda self: self._tensor in self._graph.outputs)
    is_shape_tensor = property(lambda _: False)
    is_execution_tensor = property(lambda _: True)


class ILayer(Behaviour):
    """A layer of a network."""

    def _begin(self, layer: Layer, graph: Graph) -> None:  # type: ignore[override]
        self._layer, self._graph = layer, graph

    name = property(lambda self: self._layer.name)
    type = property(lambda self: self._trt.LayerType.__members__.get(self._layer.kind, self._trt.LayerType.IDENTITY))
    metadata = property(lambda self: "".join(f"[ONNX Layer: {node}]" for node in self._layer.nodes))
    num_inputs = property(lambda self: len(self._layer.inputs))
    num_outputs = property(lambda self: len(self._layer.outputs))

    def _tensor(self, names: tuple[str, ...], index: int) -> Any:
        if not 0 <= index < len(names):
            return None
        tensor = self._graph.tensors.get(names[index], Tensor(names[index], 0, ()))
        return make(self._trt.ITensor, tensor, self._graph)

    def get_input(self, index: int) -> Any:
        """Return an input tensor."""
        return self._tensor(self._layer.inputs, index)

    def get_output(self, index: int) -> Any:
        """Return an output tensor."""
        return self._tensor(self._layer.outputs, index)

    def get_output_type(self, index: int) -> Any:
        """Return an output's type."""
        return self.get_output(index).dtype


class INetworkDefinition(Behaviour):
    """A network; `_graph` is what was parsed into it."""

    def _begin(self, builder: Any, flags: int) -> None:  # type: ignore[override]
        self._builder, self._flags = builder, flags
        self._graph: Graph | None = None
        self._warned: list[str] = []

    name = stored("Unnamed Network 0")
    error_recorder = stored(None)
    num_layers = property(lambda self: len(self._layers))
    num_inputs = property(lambda self: len(self._graph.inputs) if self._graph else 0)
    num_outputs = property(lambda self: len(self._graph.outputs) if self._graph else 0)
    builder = property(lambda self: self._builder)
    flags = property(lambda self: self._flags)
    has_implicit_batch_dimension = property(lambda self: not self._is_explicit)

    @property
    def _layers(self) -> list[Layer]:
        return network_layers(self._graph) if self._graph else []

    @property
    def _is_explicit(self) -> bool:
        is_8 = "STRONGLY_TYPED" not in self._trt.NetworkDefinitionCreationFlag.__members__
        return not is_8 or bool(self._flags & 1)

    def get_flag(self, flag: Any) -> bool:
        """Return whether the network was created with a flag."""
        return bool(self._flags & (1 << int(flag)))

    def _tensor(self, tensors: tuple[Tensor, ...], index: int) -> Any:
        if not 0 <= index < len(tensors):
            text = "(0) <= (index) && (index) < (getNbInputs())"
            say(
                self._builder.logger,
                "ERROR",
                f"Error Code 3: API Usage Error (Parameter check failed, condition: {text})",
            )
            return None
        return make(self._trt.ITensor, tensors[index], self._graph)

    def get_input(self, index: int) -> Any:
        """Return an input, None beyond the last."""
        return self._tensor(self._graph.inputs if self._graph else (), index)

    def get_output(self, index: int) -> Any:
        """Return an output, None beyond the last."""
        return self._tensor(self._graph.outputs if self._graph else (), index)

    def get_layer(self, index: int) -> Any:
        """Return a layer, None beyond the last."""
        layers = self._layers
        return make(self._trt.ILayer, layers[index], self._graph) if 0 <= index < len(layers) else None

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, arg0: int) -> Any:
        if not 0 <= arg0 < len(self._layers):
            raise IndexError("Out of bounds")
        return self.get_layer(arg0)


BEHAVIOURS: dict[str, type] = {"ITensor": ITensor, "ILayer": ILayer, "INetworkDefinition": INetworkDefinition}
