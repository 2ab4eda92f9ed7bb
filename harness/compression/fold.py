"""Batch norm folded into the convolution or linear layer before it, as every deployed engine has it."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_ATEN = torch.ops.aten
_NORM = _ATEN._native_batch_norm_legit_no_training.default
_LAYERS = (
    _ATEN.conv1d.default,
    _ATEN.conv2d.default,
    _ATEN.conv2d.padding,
    _ATEN.conv3d.default,
    _ATEN.linear.default,
)
_TRANSPOSED = (_ATEN.conv_transpose1d.default, _ATEN.conv_transpose2d.input, _ATEN.conv_transpose3d.input)
_GROUPS = 6  # position of a transposed convolution's groups


def fold_batch_norms(network: fx.GraphModule) -> None:
    """Fold every batch norm that can be folded into the layer before it, in place.

    A layer whose output goes elsewhere too, or whose weights another layer shares, keeps them, and its norm stays.
    """
    uses: dict[str, int] = {}
    for node in network.graph.nodes:
        if node.op == "get_attr":
            uses[node.target] = uses.get(node.target, 0) + len(node.users)
    for norm in list(network.graph.nodes):
        if norm.target is _NORM and _foldable(norm, uses):
            _fold(network, norm)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    _drop_unused(network)
    network.recompile()


def _foldable(norm: fx.Node, uses: dict[str, int]) -> bool:
    layer: Any = norm.args[0]
    transposed = layer.target in _TRANSPOSED and (len(layer.args) <= _GROUPS or layer.args[_GROUPS] == 1)
    if layer.target not in _LAYERS and not transposed:
        return False
    if layer.meta["val"].ndim != layer.args[1].meta["val"].ndim:
        return False  # a linear layer on tokens: its channels are the last axis, and the norm's are axis 1
    given = [arg for arg in (*layer.args[1:3], *norm.args[1:5]) if isinstance(arg, fx.Node)]
    own = all(arg.op == "get_attr" for arg in given) and all(uses[arg.target] == 1 for arg in layer.args[1:3] if arg)
    only_value = all(user.target is operator.getitem and user.args[1] == 0 for user in norm.users)
    return own and only_value and len(layer.users) == 1


def _fold(network: fx.GraphModule, norm: fx.Node) -> None:
    layer: Any = norm.args[0]
    gain, shift, mean, variance = (_value(network, arg) for arg in norm.args[1:5])
    assert mean is not None
    assert variance is not None
    epsilon = float(norm.args[6])  # type: ignore[arg-type]
    bias = layer.args[2] if len(layer.args) > 2 else None
    weight, folded = fuse_conv_bn_weights(
        _value(network, layer.args[1]),  # type: ignore[arg-type]
        _value(network, bias),
        mean,
        variance,
        epsilon,
        gain,
        shift,
        transpose=layer.target in _TRANSPOSED,
    )
    name = str(layer.args[1].target)
    _set(network, name, weight)
    bias_name = str(bias.target) if bias is not None else _free(network, f"{name.removesuffix('weight')}bias")
    _set(network, bias_name, folded)
    if bias is None:
        with network.graph.inserting_before(layer):
            layer.args = (*layer.args[:2], network.graph.get_attr(bias_name), *layer.args[3:])
    for user in list(norm.users):
        user.replace_all_uses_with(layer)


def _value(network: fx.GraphModule, node: Any) -> Tensor | None:
    return None if node is None else operator.attrgetter(node.target)(network).detach()


def _free(network: fx.GraphModule, name: str) -> str:
    """Return a name of nothing that the network has: functions may read a parameter called `bias` elsewhere."""
    owner, _, attribute = name.rpartition(".")
    while hasattr(network.get_submodule(owner), attribute):
        name, attribute = f"{name}_", f"{attribute}_"
    return name


def _set(network: fx.GraphModule, name: str, value: Tensor) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(owner), attribute, nn.Parameter(value.detach().clone()))


def _drop_unused(network: fx.GraphModule) -> None:
    """Remove parameters and buffers that no node reads: those of the norms."""
    read = {node.target for node in network.graph.nodes if node.op == "get_attr"}
    for owner_name, owner in network.named_modules():
        for tensors in (owner._parameters, owner._buffers):
            for attribute in list(tensors):
                if f"{owner_name}.{attribute}".lstrip(".") not in read:
                    del tensors[attribute]
