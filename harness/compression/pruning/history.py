"""What was cut, kept so that it can be cut again from a fresh model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.errors import InputError

if TYPE_CHECKING:
    from torch import nn

History = list[tuple[str, bool, list[int]]]
"""(layer or parameter, whether its output channels are cut, the channels' indices), in order.

Every layer that shrinks is named, so that nothing needs to be traced again. What has only one kind of channels, a norm
or a depthwise convolution, has outputs. Indices count what the entries before have left. Histories of several cuts are
joined by adding the lists.
"""


def lost_channels(history: History) -> dict[tuple[str, bool], int]:
    """Return how many channels went of every layer: (name, whether output channels) -> number."""
    lost: dict[tuple[str, bool], int] = {}
    for name, out, channels in history:
        lost[name, out] = lost.get((name, out), 0) + len(channels)
    return lost


def channel_ratio(model: nn.Module, history: History) -> float:
    """Return the share of output channels that went, of the convolutions and linear layers that lost any.

    Args:
        model: after the cuts.
        history: of all of them.
    """
    from torch import nn

    modules = dict(model.named_modules())
    gone = left = 0
    for (name, out), lost in lost_channels(history).items():
        layer = modules.get(name)
        if out and isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)):
            gone += lost
            left += layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return gone / (gone + left) if gone else 0.0


def replay(model: nn.Module, history: History) -> None:
    """Cut from a fresh model, in place, what `prune` cut.

    Args:
        model: as it was before the first cut; weights may be others.
        history: of one cut, or of several, joined.

    Raises:
        InputError: the model has no such layer or channel: it is another model.
    """
    for name, out, channels in history:
        try:
            cut(model, name, out, channels)
        except Exception as error:  # an attribute, an index, whatever another layer lacks
            raise InputError(
                f"{type(model).__name__} is not the model that was pruned: channels of {name!r} cannot be cut "
                f"({type(error).__name__}: {error}): give the same model, or prune it anew"
            ) from error


def cut(model: nn.Module, name: str, out: bool, channels: list[int]) -> None:
    """Take channels away from one layer or parameter, in place.

    Raises:
        Exception: whatever torch or Torch-Pruning raise where this does not fit.
    """
    import torch_pruning as tp
    from torch import nn

    parent, _, child = name.rpartition(".")
    owner = model.get_submodule(parent)
    layer = getattr(owner, child) if child else model
    if isinstance(layer, nn.Parameter):
        setattr(owner, child, _without(layer, _channel_dimension(layer), channels))
    elif isinstance(layer, nn.LayerNorm):
        _cut_layer_norm(layer, channels)
    else:
        pruner: Any = tp.function.PrunerBox[tp.ops.module2type(layer)]
        pruner.pruning_dim = -1
        have = pruner.get_out_channels(layer) if out else pruner.get_in_channels(layer)
        if max(channels) >= have:
            raise IndexError(f"channel {max(channels)} of {have}")
        (pruner.prune_out_channels if out else pruner.prune_in_channels)(layer, list(channels))


def _channel_dimension(parameter: nn.Parameter) -> int:
    """Return the dimension that Torch-Pruning takes for a parameter's channels: the last with more than one entry."""
    return max(dimension for dimension, size in enumerate(parameter.shape) if size > 1)


def _cut_layer_norm(layer: nn.LayerNorm, channels: list[int]) -> None:
    """Cut a layer norm: Torch-Pruning keeps the rest in the order of a set, which is not always ascending."""
    if layer.elementwise_affine:
        for name, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, _without(parameter, parameter.ndim - 1, channels))
    layer.normalized_shape = (*layer.normalized_shape[:-1], layer.normalized_shape[-1] - len(channels))


def _without(parameter: nn.Parameter, dimension: int, channels: list[int]) -> nn.Parameter:
    import torch
    from torch import nn

    gone = set(channels)
    if max(gone) >= parameter.shape[dimension]:
        raise IndexError(f"channel {max(gone)} of {parameter.shape[dimension]}")
    kept = torch.tensor(
        [each for each in range(parameter.shape[dimension]) if each not in gone], device=parameter.device
    )
    return nn.Parameter(parameter.detach().index_select(dimension, kept), parameter.requires_grad)
