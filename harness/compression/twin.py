"""The twin: a model with a quantizer at every place that the rule table names.

With its quantizers on it is the function that the INT8 graph computes; with them off it is the float model. Both are
differentiable, and both are exported from here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d
from torch.nn.utils import parametrize

from calibration.fake_quantize import ActivationQuantizer, WeightQuantizer
from calibration.observers import observer
from calibration.rules import RULES
from calibration.table import CalibrationTable, TensorScale
from contracts.errors import InputError
from harness.compression.fold import folded

_MODULES: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), "Conv"),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "ConvTranspose"),
    ((nn.Linear,), "Gemm"),
    ((nn.AvgPool2d,), "AveragePool"),
    ((nn.AdaptiveAvgPool2d,), "GlobalAveragePool"),
)
_FUNCTIONS: dict[Any, str] = {
    operator.add: "Add",
    operator.iadd: "Add",
    torch.add: "Add",
    torch.matmul: "MatMul",
    operator.matmul: "MatMul",
    avg_pool2d: "AveragePool",
    adaptive_avg_pool2d: "GlobalAveragePool",
}
_QUANTIZERS = "activation_quantizers"
_OF = "of_"  # in front of a tensor's name, which could be that of a method: "values"
_WEIGHT = "weight"


class Twin(nn.Module):
    """A classifier that can quantize.

    Args:
        model: in evaluation mode; batch norms are folded into a copy of it.
        bits: width of weights and activations.
    """

    def __init__(self, model: nn.Module, bits: int = 8) -> None:
        super().__init__()
        self.bits = bits
        self.network = folded(model)
        _place(self.network, bits)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, channels, height, width) in [0, 1]."""
        return self.network(images)  # type: ignore[no-any-return]

    def activation_quantizers(self) -> dict[str, ActivationQuantizer]:
        """Return the activations' quantizers by the name of the tensor they quantize."""
        return {name.removeprefix(_OF): module for name, module in getattr(self.network, _QUANTIZERS).items()}

    def weight_quantizers(self) -> dict[str, WeightQuantizer]:
        """Return the weights' quantizers by the name of their layer."""
        return {
            name: module.parametrizations[_WEIGHT][0]
            for name, module in self.network.named_modules()
            if parametrize.is_parametrized(module, _WEIGHT)
        }

    def quantize(self, on: bool) -> Twin:
        """Turn every quantizer on or off; return the twin itself."""
        for activation in self.activation_quantizers().values():
            activation.enabled = on
        for weight in self.weight_quantizers().values():
            weight.enabled = on
        return self

    def weights(self) -> dict[str, Tensor]:
        """Return the float weights by name, without any quantizer."""
        return {_plain(name): tensor for name, tensor in self.network.state_dict().items() if _is_weight(name)}

    def load_weights(self, state: dict[str, Tensor]) -> None:
        """Copy float weights that `weights` gave, and take the weights' scales from them."""
        own = {name: tensor for name, tensor in self.network.state_dict().items() if _is_weight(name)}
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[_plain(name)])
        self.fit_weights()

    def fit_weights(self) -> None:
        """Take the weights' scales from the weights: in training they are those of the step before."""
        weights = self.weights()
        for name, quantizer in self.weight_quantizers().items():
            quantizer.fit(weights[f"{name}.{_WEIGHT}"])

    def calibrate(self, calibrator: str, batches: Iterator[Tensor]) -> None:
        """Set every activation's scale from what an observer sees while the float model runs on the batches.

        Raises:
            InputError: unknown calibrator, no batch, or activations that are not finite, with the tensor's name.
        """
        quantizers = self.activation_quantizers()
        with self._observed(calibrator):
            seen = 0
            with torch.inference_mode():
                for batch in batches:
                    self(batch)
                    seen += len(batch)
            if seen == 0:
                raise InputError("there are no calibration images: set data.calibration_samples above 0")
            for quantizer in quantizers.values():
                if quantizer.observer is not None:
                    quantizer.scale.fill_(quantizer.observer.range() / (2 ** (self.bits - 1) - 1))

    @contextmanager
    def _observed(self, calibrator: str) -> Iterator[None]:
        quantizers = self.activation_quantizers()
        for name, quantizer in quantizers.items():
            quantizer.observer = observer(calibrator, name)
        self.quantize(False)
        try:
            yield
        finally:
            self.quantize(True)
            for quantizer in quantizers.values():
                quantizer.observer = None

    def table(self, method: str, sample_ids: tuple[int, ...]) -> CalibrationTable:
        """Return every scale, by tensor."""
        tensors = {
            name: TensorScale((float(quantizer.scale),)) for name, quantizer in self.activation_quantizers().items()
        }
        for name, weights in self.weight_quantizers().items():
            tensors[f"{name}.{_WEIGHT}"] = TensorScale(tuple(weights.scale.tolist()), weights.axis)
        return CalibrationTable(method, self.bits, sample_ids, tensors)

    def load_table(self, table: CalibrationTable) -> Twin:
        """Set every scale from a table; return the twin itself.

        Raises:
            InputError: the table does not belong to this model.
        """
        places: dict[str, Tensor] = {name: module.scale for name, module in self.activation_quantizers().items()}
        places |= {f"{name}.{_WEIGHT}": module.scale for name, module in self.weight_quantizers().items()}
        if different := set(places) ^ set(table.tensors) or {
            name for name, scale in places.items() if scale.numel() != len(table.tensors[name].scales)
        }:
            raise InputError(f"the calibration table does not belong to this model: they differ in {min(different)}")
        if table.bits != self.bits:
            raise InputError(
                f"the calibration table is one of {table.bits} bits and the model quantizes to {self.bits}: "
                "calibrate again"
            )
        for name, scale in places.items():
            scale.copy_(torch.tensor(table.tensors[name].scales).reshape(scale.shape))
        return self


def _place(network: fx.GraphModule, bits: int) -> None:
    """Insert a quantizer behind every tensor that a rule names, once, for all operators that want it quantized."""
    modules = dict(network.named_modules())
    consumers: dict[fx.Node, list[fx.Node]] = {}
    for node in network.graph.nodes:
        rule = RULES.get(_kind(node, modules) or "")
        if rule is None:
            continue
        given = [arg for arg in (*node.args, *node.kwargs.values()) if isinstance(arg, fx.Node)]
        inputs = [arg for arg in given if arg.op != "get_attr"]
        if len(inputs) < len(rule.activations):
            continue  # a constant or a number is on one side: that is a bias or a scale, no residual
        for position in rule.activations:
            consumers.setdefault(inputs[position], []).append(node)
        if rule.weight_axis is not None:
            layer = modules[str(node.target)]
            if not parametrize.is_parametrized(layer, _WEIGHT):
                quantizer = WeightQuantizer(layer.weight, rule.weight_axis, bits)
                parametrize.register_parametrization(layer, _WEIGHT, quantizer)
    network.add_module(_QUANTIZERS, nn.ModuleDict({_OF + node.name: ActivationQuantizer(bits) for node in consumers}))
    for source, users in consumers.items():
        with network.graph.inserting_after(source):
            quantized = network.graph.call_module(f"{_QUANTIZERS}.{_OF}{source.name}", (source,))
        for user in users:
            user.replace_input_with(source, quantized)
    network.recompile()


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """Return the ONNX operator that a node becomes, where a rule could know it."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        return next((kind for kinds, kind in _MODULES if isinstance(module, kinds)), None)
    if node.op == "call_function":
        target: Callable[..., Any] | str = node.target
        return _FUNCTIONS.get(target)
    return None


def _is_weight(name: str) -> bool:
    return _QUANTIZERS not in name and not name.endswith(f"parametrizations.{_WEIGHT}.0.scale")


def _plain(name: str) -> str:
    return name.replace(f"parametrizations.{_WEIGHT}.original", _WEIGHT)
