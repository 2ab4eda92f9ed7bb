"""Batch norm folded into the convolution or linear layer before it, as every deployed engine has it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from contracts.errors import InputError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(model: nn.Module) -> fx.GraphModule:
    """Return the same function in evaluation mode as a traced graph without the batch norms that can be folded.

    Args:
        model: in evaluation mode; it is copied, and stays as it is.

    Raises:
        InputError: the model's control flow depends on its data, so that it cannot be traced.
    """
    try:
        traced = fx.symbolic_trace(deepcopy(model))
    except Exception as error:  # tracing runs the user's own forward
        raise InputError(
            f"{type(model).__name__} cannot be traced by torch.fx ({error}): its forward must not branch on the values "
            "or shapes of tensors"
        ) from error
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, _NORMS) or norm.running_mean is None:  # without it the batch decides
            continue
        source = node.all_input_nodes[0]
        layer = modules.get(str(source.target)) if source.op == "call_module" else None
        # A layer whose output goes elsewhere too, or that is called twice, must keep its own weights.
        if layer is None or len(source.users) > 1 or _calls(traced, source) > 1:
            continue
        fused = _fused(layer, norm)
        if fused is not None:
            traced.set_submodule(str(source.target), fused)
            modules[str(source.target)] = fused
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _calls(traced: fx.GraphModule, node: fx.Node) -> int:
    return sum(other.op == "call_module" and other.target == node.target for other in traced.graph.nodes)


def _fused(layer: nn.Module, norm: Any) -> nn.Module | None:
    if isinstance(layer, _CONVOLUTIONS):
        transpose = isinstance(layer, _CONVOLUTIONS[3:])
        if transpose and layer.groups > 1:
            return None  # torch's fusion takes the weight's axes for those of one group
        return fuse_conv_bn_eval(layer, norm, transpose=transpose)
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    return None
