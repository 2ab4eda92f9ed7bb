"""The twin: a model with a quantizer at every place that the rule table names.

With its quantizers on it is the function that the INT8 graph computes; with them off it is the float model. Both are
differentiable, and both are exported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, fx, nn

from calibration.fake_quantize import ActivationQuantizer, WeightQuantizer
from calibration.ranges import Shape, observed_scales
from calibration.rules import Place, places, scale_names
from calibration.table import BY_CHANNEL, CalibrationTable, TensorScale, places_digest
from contracts.errors import InputError
from harness.compression.operations import operations, tensor_name

_QUANTIZERS = "quantizers"
_OF = "of_"  # in front of a tensor's name, which could be that of a method: "values"

_Quantized = tuple[str, int | None]  # a tensor, and of a weight the axis of its output channels


class Twin(nn.Module):
    """A classifier that can quantize.

    Args:
        network: what `harness.compression.traced.traced` gave; it is copied, and stays as it is.
        bits: width of weights and activations, 1 to 16.
        keep_float: names of operations that are not quantized.

    Attributes:
        operations: what the network computes, in the order of execution.
        places: where quantizers are, in the order of execution.
    """

    def __init__(self, network: fx.GraphModule, bits: int = 8, keep_float: Iterable[str] = ()) -> None:
        super().__init__()
        self.bits = bits
        self.keep_float = tuple(sorted(keep_float))
        self.network = deepcopy(network)
        self._shapes = {tensor_name(node): _shape(node) for node in self.network.graph.nodes}
        found = operations(self.network.graph)
        self.operations = tuple(found.values())
        self.places = places(self.operations, frozenset(self.keep_float))
        self._names = scale_names(self.places, {place.tensor: len(self.shape(place.tensor)) for place in self.places})
        self._input = next(node.name for node in self.network.graph.nodes if node.op == "placeholder")
        self._place({operation.name: node for node, operation in found.items()})
        self.eval()
        self.fit_weights()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, channels, height, width) in [0, 1]."""
        return self.network(images)  # type: ignore[no-any-return]

    def activation_quantizers(self) -> dict[str, ActivationQuantizer]:
        """Return the activations' quantizers by the name of the tensor they quantize."""
        return {name: made for name, made in self._quantizers().items() if isinstance(made, ActivationQuantizer)}

    def weight_quantizers(self) -> dict[str, WeightQuantizer]:
        """Return the weights' quantizers by the name of the weight; see `calibration.rules.scale_names`."""
        return {name: made for name, made in self._quantizers().items() if isinstance(made, WeightQuantizer)}

    def quantize(self, on: bool) -> Twin:
        """Turn every quantizer on or off; return the twin itself."""
        for quantizer in self._quantizers().values():
            quantizer.enabled = on
        return self

    def follow(self, momentum: float | None) -> Twin:
        """Let activation ranges follow the largest activations in training by a moving average; None freezes them."""
        for quantizer in self.activation_quantizers().values():
            quantizer.momentum = momentum
        return self

    def weights(self) -> dict[str, Tensor]:
        """Return the float weights by name, without any quantizer."""
        state = self.network.state_dict()
        return {name: tensor for name, tensor in state.items() if not name.startswith(f"{_QUANTIZERS}.")}

    def load_weights(self, state: dict[str, Tensor]) -> None:
        """Copy float weights that `weights` gave, and take the weights' scales from them."""
        with torch.no_grad():
            for name, tensor in self.weights().items():
                tensor.copy_(state[name])
        self.fit_weights()

    def fit_weights(self) -> None:
        """Take the weights' scales from the weights: in training they are those of the step before."""
        quantizers = self.weight_quantizers().values()
        for quantizer in quantizers:
            quantizer.train()
        device = next((tensor.device for tensor in chain(self.parameters(), self.buffers())), None)
        with torch.no_grad():  # a weight may be computed from parameters: what arrives at its quantizer counts
            self(torch.zeros(1, *self._shapes[self._input][1:], device=device))
        for quantizer in quantizers:
            quantizer.train(self.training)

    def calibrate(self, calibrator: str, batches: Iterable[Tensor]) -> None:
        """Set every activation's scale from what an observer sees while the float model runs on the batches.

        Raises:
            InputError: unknown calibrator, no batch, or activations that are not finite, with the layer's name.
        """
        quantizers = self.activation_quantizers()
        with self._float():
            scales = observed_scales(self.run, batches, self.places, calibrator, self.bits)
        for name, scale in scales.items():
            quantizers[name].scale.fill_(scale)

    def run(self, batch: Tensor, see: Callable[[str, Tensor], None]) -> None:
        """Run a batch and show every activation that has a quantizer, in the order of execution."""
        quantizers = self.activation_quantizers()
        for name, quantizer in quantizers.items():
            quantizer.see = lambda x, name=name: see(name, x)
        try:
            with torch.inference_mode():
                self(batch)
        finally:
            for quantizer in quantizers.values():
                quantizer.see = None

    def table(self, method: str, images: str, sample_ids: tuple[int, ...]) -> CalibrationTable:
        """Return every scale, by tensor.

        Args:
            method: the activations' range estimator.
            images: what was shown: clean, adversarial or mixed.
            sample_ids: which images of the training split.
        """
        tensors, quantizers = {}, self._quantizers()
        for (tensor, axis), name in self._names.items():
            scales = tuple(quantizers[name].scale.reshape(-1).tolist())
            tensors[name] = TensorScale(scales, axis, method if axis is None else BY_CHANNEL, self.shape(tensor))
        return CalibrationTable(
            method=method,
            bits=self.bits,
            images=images,
            sample_ids=sample_ids,
            keep_float=self.keep_float,
            graph=self.digest(),
            tensors=tensors,
        )

    def load_table(self, table: CalibrationTable) -> Twin:
        """Set every scale from a table; return the twin itself.

        Raises:
            InputError: the table does not belong to this model.
        """
        if table.bits != self.bits:
            raise InputError(
                f"the calibration table is one of {table.bits} bits and the model quantizes to {self.bits}: "
                "calibrate again"
            )
        table.check_belongs({name: self.shape(tensor) for (tensor, _), name in self._names.items()}, self.digest())
        return self.load_scales(table.tensors)

    def load_scales(self, tensors: Mapping[str, TensorScale]) -> Twin:
        """Set every scale from those of a twin that quantizes at least as many tensors; return the twin itself."""
        quantizers = self._quantizers()
        for (tensor, axis), name in self._names.items():
            entry = tensors[tensor]  # that other twin may count its channels along another axis first
            scales = entry.scales if entry.axis == axis else tensors[f"{tensor} along {axis}"].scales
            quantizers[name].scale.copy_(torch.tensor(scales).reshape(quantizers[name].scale.shape))
        return self

    def shape(self, tensor: str) -> Shape:
        """Return a tensor's shape, 0 where it depends on the batch."""
        return self._shapes[tensor]

    def digest(self) -> str:
        """Return what recognises this model's places: operators, tensors, shapes."""
        return places_digest(self.places, self.shape)

    def _quantizers(self) -> dict[str, ActivationQuantizer | WeightQuantizer]:
        return {made.tensor: made for made in getattr(self.network, _QUANTIZERS).values()}

    @contextmanager
    def _float(self) -> Iterator[None]:
        self.quantize(False)
        try:
            yield
        finally:
            self.quantize(True)

    def _place(self, nodes: Mapping[str, fx.Node]) -> None:
        """Insert a quantizer behind every tensor that a rule names, once, for all operations that want it quantized.

        A weight gets one for every axis that counts its output channels.
        """
        graph = self.network.graph
        sources = {tensor_name(node): node for node in graph.nodes}
        made = nn.ModuleDict()
        self.network.add_module(_QUANTIZERS, made)
        wanted: dict[_Quantized, list[Place]] = {quantized: [] for quantized in self._names}
        for place in self.places:
            axis = None if place.axis is None else place.axis % len(self.shape(place.tensor))
            wanted[place.tensor, axis].append(place)
        for (tensor, axis), users in wanted.items():
            source = sources[tensor]
            name = self._names[tensor, axis]
            key = f"{_OF}{source.name}" if name == tensor else f"along_{axis}_{_OF}{source.name}"
            made[key] = self._quantizer(tensor, axis)
            with graph.inserting_after(source):
                quantized = graph.call_module(f"{_QUANTIZERS}.{key}", (source,))
            for place in users:
                nodes[place.operation].replace_input_with(source, quantized)
        self.network.recompile()

    def _quantizer(self, tensor: str, axis: int | None) -> ActivationQuantizer | WeightQuantizer:
        name = self._names[tensor, axis]
        if axis is None:
            return ActivationQuantizer(name, self.bits)
        return WeightQuantizer(name, self.shape(tensor)[axis], axis, self.bits)


def _shape(node: fx.Node) -> Shape:
    value = node.meta.get("val")
    sizes = value.shape if isinstance(value, Tensor) else ()
    return tuple(size if isinstance(size, int) else 0 for size in sizes)
