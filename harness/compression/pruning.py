"""Structured pruning: whole channels go, and every layer that they touch shrinks with them.

Torch-Pruning finds the dependencies (Fang et al. 2023, arXiv 2301.12900). A pruning is stored as the list of what was
cut where, which, replayed on the unpruned model, gives the pruned structure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from contracts.errors import InputError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn

METHODS = ("l1",)

History = list[tuple[str, bool, list[int]]]
"""(layer, whether its output channels are cut, the channels' indices), in order."""


def prune(model: nn.Module, example: Tensor, *, method: str, sparsity: float, round_to: int) -> History:
    """Cut the least important channels of every layer, in place.

    Args:
        model: in evaluation mode.
        example: float32, shape (n, channels, height, width), traced through the model.
        method: importance of a channel: `l1`, the sum of its weights' magnitudes.
        sparsity: share of each layer's channels to cut, in (0, 1).
        round_to: channel counts become multiples of this: INT8 kernels are slow on others.

    Returns:
        What was cut, for `replay`.

    Raises:
        InputError: unknown method, or a model that Torch-Pruning cannot trace.
    """
    import torch_pruning as tp

    if method not in METHODS:
        raise unknown_name("pruning method", method, METHODS)
    try:
        pruner = tp.pruner.BasePruner(
            model,
            example,
            importance=tp.importance.MagnitudeImportance(p=1),
            pruning_ratio=sparsity,
            round_to=round_to,
            ignored_layers=_heads(model, example),
            isomorphic=False,
        )
        pruner.step()
        history: History = [(layer, out, list(map(int, cut))) for layer, out, cut in pruner.pruning_history()]
    except Exception as error:  # torch-pruning raises whatever its tracing runs into
        raise InputError(
            f"torch-pruning cannot trace {type(model).__name__} ({type(error).__name__}: {error}): "
            "set prune.method = 'none'"
        ) from error
    return history


def replay(model: nn.Module, example: Tensor, history: History) -> None:
    """Cut from a fresh model, in place, what `prune` cut."""
    import torch_pruning as tp

    graph: Any = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    graph.load_pruning_history(history)


def _heads(model: nn.Module, example: Tensor) -> list[nn.Module]:
    """Return the layer that writes the logits, the last that runs with that many outputs: these are the classes."""
    from torch import nn

    called: list[nn.Module] = []
    layers = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    hooks = [layer.register_forward_hook(lambda module, *_: called.append(module)) for layer in layers]
    try:
        classes = model(example).shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    return [layer for layer in called if len(cast("Tensor", layer.weight)) == classes][-1:]
