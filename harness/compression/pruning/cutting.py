"""Structured pruning: whole channels go, and every layer that they touch shrinks with them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from contracts.errors import InputError, nearest
from harness.compression.pruning.history import History, cut, lost_channels, replay
from harness.compression.pruning.settings import NEEDS, Pruning

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.compression.pruning.groups import Group
    from harness.compression.pruning.trace import UncuttableError

_TRIALS = 20  # modules below the model that are tried, to name those to ignore


def prune(
    model: nn.Module,
    example: Tensor,
    pruning: Pruning,
    gradients: Callable[[nn.Module], None] | None = None,
    before: History | None = None,
) -> History:
    """Cut the least important channels of a model, in place; after an error it is as it was.

    The layer that writes the logits keeps its outputs. Layers that meet in a sum shrink together; a layer may stay
    whole: one that is smaller than `round_to`, and with `bn-scale` one whose channels meet no batch norm. An attention
    keeps its heads, each of which loses the same channels; where it splits the width of its tokens among its heads, the
    transformer's width and the insides of its attentions shrink by the same share, in steps of one channel a head. Its
    scale, one over the root of a head's width, changes with it.

    The cuts of `Pruning.in_steps`, each given the histories of those before, count from the channels before the first,
    and find importances anew from the weights of then. They end where one cut of the whole share does. With local scope
    and for layers with a limit that is in the same channel counts: all but the last go channel by channel, none beyond
    the end. (Where a channel takes one of one layer with it and two of another, counts may depend on which went.) With
    global scope it is in the total, which as in one cut is the share or more by less than the last step of `round_to`
    channels that was taken: every cut leaves multiples, and which layers they are in is up to the importances.

    Args:
        model: is put into evaluation mode; any that Torch-Pruning can trace.
        example: float32, shape (n, channels, height, width), traced through the model.
        pruning: what to cut.
        gradients: for `taylor` and `robust-taylor`: accumulates the gradients of a loss in the parameters' `grad`. The
            loss is all that sets the two apart. They are cleared before and afterwards.
        before: what earlier cuts took from the model.

    Returns:
        What was cut, for `replay`; empty where earlier cuts left nothing to do, or a part of a cut is less than one
        channel of any layer.

    Raises:
        InputError: a name that the model has not, a method that does not fit the model, a model that cannot be traced
            or cut (with the module to ignore), or nothing that the whole cut could take.
    """
    from harness.compression.pruning.groups import find_groups
    from harness.compression.pruning.trace import UncuttableError

    model.eval()
    _check(model, pruning, gradients)
    try:
        bundles = find_groups(model, example, pruning.ignore)
        _check_limits(bundles, pruning)
        history = _planned(model, bundles, pruning, gradients, before)
        _try(model, example, history)
    except UncuttableError as error:
        raise _refusal(model, example, pruning, error) from error
    if not history and not before and not _planned(model, bundles, replace(pruning, part=1.0), gradients):
        raise InputError(
            f"not a single channel of {type(model).__name__} was cut with sparsity {pruning.sparsity} and round_to "
            f"{pruning.round_to}: lower prune.round_to, raise prune.sparsity, or ignore and limit less"
        )
    replay(model, history)
    return history


def _planned(
    model: nn.Module,
    bundles: list[list[Group]],
    pruning: Pruning,
    gradients: Callable[[nn.Module], None] | None,
    before: History | None = None,
) -> History:
    from harness.compression.pruning.importance import importances
    from harness.compression.pruning.selection import cut_sides, select

    groups = [group for bundle in bundles for group in bundle]
    if pruning.needs.gradients == "none":
        scores = importances(model, groups, pruning)
    else:
        assert gradients is not None  # checked
        model.zero_grad(set_to_none=True)
        gradients(model)
        if all(parameter.grad is None for parameter in model.parameters()):
            raise InputError(
                f"prune.method {pruning.method!r} found no gradient in any parameter: give it a loss to derive"
            )
        scores = importances(model, groups, pruning)
        model.zero_grad(set_to_none=True)
    by_group = {id(group): score for group, score in zip(groups, scores, strict=True)}
    gone = select(bundles, by_group, pruning, lost_channels(before or []))
    return [(name, out, channels) for (name, out), channels in cut_sides(gone).items()]


def _try(model: nn.Module, example: Tensor, history: History) -> None:
    """Cut a copy and run it.

    Raises:
        UncuttableError: a layer cannot be cut, or the rest does not fit together.
    """
    import torch

    from harness.compression.pruning.trace import UncuttableError, innermost

    copy = deepcopy(model)
    name = ""
    try:
        for name, out, channels in history:
            cut(copy, name, out, channels)
    except Exception as error:  # parametrized weights, a grouped transposed convolution, ...
        raise UncuttableError(name, error) from error
    with innermost(copy) as where, torch.no_grad():
        try:
            scores, wanted = copy(example), model(example)
        except Exception as error:  # the user's own forward
            raise UncuttableError(where[-1] if where else "", error) from error
    if scores.shape != wanted.shape:
        raise UncuttableError("", f"it would return {tuple(scores.shape)} instead of {tuple(wanted.shape)}")


def _refusal(model: nn.Module, example: Tensor, pruning: Pruning, error: UncuttableError) -> InputError:
    """Name the smallest module around a failure that helps when ignored, or else those below the model that do."""
    place = f" in {error.module!r}" if error.module else ""
    text = f"torch-pruning cannot trace or cut {type(model).__name__} ({error.reason}{place})"
    easier = replace(pruning, method="l1", limits={}, part=1.0)
    around, below = _around(error.module), _below(model)
    below.sort(key=lambda name: name not in around)
    one = next((each for each in around + below if _cut_without(model, example, easier, [each])), None)
    names = [one] if one else _least_to_ignore(model, example, easier, below)
    if names:
        listed = ", ".join(map(repr, names))
        return InputError(f"{text}: put {listed} into prune.ignore, or set prune.method = 'none'")
    if error.module:
        return InputError(f"{text}: mend this module, or set prune.method = 'none'")
    return InputError(f"{text}: set prune.method = 'none'")


def _around(module: str) -> list[str]:
    """Return a module's name and those of the modules around it, but for the model."""
    parts = module.split(".") if module else []
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _below(model: nn.Module) -> list[str]:
    """Return the modules directly below the model, or below the one that it wraps, small ones first.

    None where they are many: each is tried.
    """
    prefix = ""
    while len(children := list(model.get_submodule(prefix.rstrip(".")).named_children())) == 1:
        prefix += f"{children[0][0]}."
    children.sort(key=lambda child: sum(weight.numel() for weight in child[1].parameters()))
    return [f"{prefix}{name}" for name, _ in children] if len(children) <= _TRIALS else []


def _least_to_ignore(model: nn.Module, example: Tensor, pruning: Pruning, names: list[str]) -> list[str]:
    """Return those of the modules, large ones last, that must all be ignored; none where nothing is left to cut."""
    if _cut_without(model, example, pruning, names) is None:
        return []
    for name in reversed(names):
        fewer = [each for each in names if each != name]
        if _cut_without(model, example, pruning, fewer) is not None:
            names = fewer
    return names if _cut_without(model, example, pruning, names) else []


def _cut_without(model: nn.Module, example: Tensor, pruning: Pruning, ignore: list[str]) -> History | None:
    """Return what is cut where these are ignored too, or None: it fails."""
    from harness.compression.pruning.groups import find_groups
    from harness.compression.pruning.trace import UncuttableError

    pruning = replace(pruning, ignore=(*pruning.ignore, *ignore))
    try:
        history = _planned(model, find_groups(model, example, pruning.ignore), pruning, None)
        _try(model, example, history)
    except (UncuttableError, InputError):
        return None
    return history


def _check(model: nn.Module, pruning: Pruning, gradients: Callable[[nn.Module], None] | None) -> None:
    from torch import nn

    known = [name for name, _ in model.named_modules() if name]
    for setting, names in (("limits", pruning.limits), ("ignore", pruning.ignore)):
        for name in names:
            if name not in known:
                hint = nearest(name, known) or ": a name is a module's as in named_modules()"
                raise InputError(f"prune.{setting} names {name!r}, which is no module of {type(model).__name__}{hint}")
    norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine for module in model.modules())
    if pruning.needs.batch_norms and not norms:
        *others, last = [repr(name) for name, needs in NEEDS.items() if not needs.batch_norms]
        raise InputError(
            f"prune.method {pruning.method!r} reads the scales of batch norms, and {type(model).__name__} has none: "
            f"choose {', '.join(others)} or {last}"
        )
    if pruning.needs.gradients != "none" and gradients is None:
        raise InputError(f"prune.method {pruning.method!r} reads gradients of a loss, and none are given: give images")


def _check_limits(bundles: list[list[Group]], pruning: Pruning) -> None:
    """Refuse a share for what cannot be cut."""
    from harness.compression.pruning.selection import limited_by

    used = {
        limited_by(name, pruning.limits) for bundle in bundles for group in bundle for name, out in group.sides if out
    }
    for name, share in pruning.limits.items():
        if share and name not in used:
            raise InputError(
                f"prune.limits wants {share} of {name!r}, which has no output channels that can be cut: leave it out"
            )
