"""How important a channel is: a number for every unit of a group.

It is summed over all weights that would go with the channel, in every layer of the group, as in Fang et al. 2023 (arXiv
2301.12900); biases do not count:

- `l1`: |w| (Li et al. 2017, arXiv 1608.08710), `l2`: w².
- `bn-scale`: |scale| of batch norms alone (Liu et al. 2017, arXiv 1708.06519); layers whose channels meet none stay.
- `taylor`: |w * gradient of the loss|, to first order what the loss changes by when w goes (Molchanov et al. 2019,
  arXiv 1906.10771). `robust-taylor` is the same with the gradients of a loss on adversarial images.
- `random`: drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from contracts.errors import InputError

if TYPE_CHECKING:
    from harness.compression.pruning.groups import Group
    from harness.compression.pruning.settings import Pruning

Scores = npt.NDArray[np.float64]
_WeightScores = Callable[[nn.Parameter], Tensor]


def importances(model: nn.Module, groups: list[Group], pruning: Pruning) -> list[Scores | None]:
    """Return a score for every unit of every group, divided by the group's mean; None where the method has none.

    Args:
        model: with gradients, where the method reads them.
        groups: of the model.
        pruning: names the method, and the seed.

    Raises:
        InputError: a score is NaN or infinite.
    """
    if pruning.needs.seed:
        generator = np.random.default_rng(pruning.seed)
        return [generator.random(group.units) for group in groups]
    modules = dict(model.named_modules())
    with torch.no_grad():
        return [_scores(modules, group, pruning) for group in groups]


def _scores(modules: Mapping[str, nn.Module], group: Group, pruning: Pruning) -> Scores | None:
    total = np.zeros(group.units)
    found = False
    for (name, out), (indices, units) in group.sides.items():
        module = modules.get(name)
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if module is None or (pruning.needs.batch_norms and not is_norm):
            continue
        each = _channel_scores(module, out, WEIGHT_SCORES[pruning.method])
        if each is not None:
            found = True
            np.add.at(total, units, each.double().cpu().numpy()[indices])
    if not np.isfinite(total).all():
        raise InputError(
            f"prune.method {pruning.method!r} finds NaN or infinite weights or gradients around layer {group.root!r}"
        )
    if not found:
        return None
    mean = total.mean()
    return cast(Scores, total / mean if mean > 0 else total)


def _product_with_gradient(weight: nn.Parameter) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else (weight * weight.grad).abs()


WEIGHT_SCORES: dict[str, _WeightScores] = {
    "l1": torch.abs,
    "l2": torch.square,
    "bn-scale": torch.abs,
    "taylor": _product_with_gradient,
    "robust-taylor": _product_with_gradient,
}
"""What an entry of a weight is worth, by method."""


def _channel_scores(module: nn.Module, out: bool, score: _WeightScores) -> Tensor | None:
    """Return the sum of its weights' scores for each of a layer's output or input channels."""
    if isinstance(module, nn.MultiheadAttention):
        return _attention_scores(module, score)
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter):
        return None
    scores = score(weight)
    if isinstance(module, nn.modules.conv._ConvNd):
        # (groups, one side's channels of a group, the other's, kernel)
        split = scores.reshape(module.groups, scores.shape[0] // module.groups, scores.shape[1], -1)
        return split.sum((2, 3) if out != module.transposed else (1, 3)).flatten()
    if isinstance(module, nn.Linear):
        return scores.sum(1 if out else 0)
    if isinstance(module, nn.Embedding):
        return scores.sum(0)
    return scores if scores.ndim == 1 else None


def _attention_scores(module: nn.MultiheadAttention, score: _WeightScores) -> Tensor:
    width = module.embed_dim
    last = score(cast(nn.Parameter, module.out_proj.weight))
    total = last.sum(0) + last.sum(1)
    if module.in_proj_weight is not None:
        first = score(module.in_proj_weight)
        total = total + first.sum(0) + first.sum(1).reshape(3, width).sum(0)
    return total
