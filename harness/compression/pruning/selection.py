"""Which units go: the least important first, as many as it takes, never more than a layer may lose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.compression.pruning.groups import Group
from harness.compression.pruning.importance import Scores
from harness.compression.pruning.settings import Pruning
from harness.compression.pruning.side import Side

_ROUNDING = 1e-6  # 10 channels less 90 % leave one, not 0.9999999999999998
_Units = list[tuple[Group, list[int]]]


@dataclass(frozen=True)
class _Rung:
    """The least that may go next of a bundle, once the rungs before have gone."""

    score: float
    channels: float
    units: _Units


@dataclass(frozen=True)
class _Ladder:
    """What may go of a bundle, the least important first.

    Attributes:
        channels: before the first cut.
        lost: those that went in earlier cuts.
        rungs: what may go now.
        limit: the bundle's own share, where it has one.
    """

    channels: float
    lost: float
    rungs: list[_Rung]
    limit: float | None


def select(
    bundles: list[list[Group]], scores: Mapping[int, Scores | None], pruning: Pruning, lost: Mapping[Side, int]
) -> _Units:
    """Return the units that go of every group.

    Args:
        bundles: of `find_groups`.
        scores: id of a group -> importance of its units; bundles without any stay whole.
        pruning: shares, limits and scope.
        lost: how many channels each layer lost in earlier cuts; none where it is not named.
    """
    ladders = [
        _ladder(bundle, scores, pruning, lost)
        for bundle in bundles
        if any(scores[id(each)] is not None for each in bundle)
    ]
    gone: _Units = []
    for ladder in ladders:
        if ladder.limit is not None:
            gone += _climb([ladder], pruning.share(ladder.limit))
    free = [ladder for ladder in ladders if ladder.limit is None]
    for pool in [free] if pruning.scope == "global" else [[each] for each in free]:
        gone += _climb(pool, pruning.share(pruning.sparsity))
    return gone


def cut_sides(gone: _Units) -> dict[Side, list[int]]:
    """Return the channels that go of every layer, ascending."""
    found: dict[Side, set[int]] = {}
    for group, units in gone:
        for side, (indices, unit) in group.sides.items():
            found.setdefault(side, set()).update(indices[np.isin(unit, units)].tolist())
    return {side: sorted(indices) for side, indices in found.items() if indices}


def _climb(ladders: list[_Ladder], share: float) -> _Units:
    """Take rungs from several ladders, the lowest scores first, until a share of all channels is taken."""
    wanted = share * sum(ladder.channels for ladder in ladders) - _ROUNDING
    taken: float = sum(ladder.lost for ladder in ladders)
    gone: _Units = []
    for rung in sorted((rung for ladder in ladders for rung in ladder.rungs), key=lambda rung: rung.score):
        if taken >= wanted:
            break
        taken += rung.channels
        gone += rung.units
    return gone


def _ladder(
    bundle: list[Group], scores: Mapping[int, Scores | None], pruning: Pruning, lost: Mapping[Side, int]
) -> _Ladder:
    """Return what may go of a bundle, of every group the same share.

    Every rung leaves multiples of `round_to`. On the way to a local cut, which knows where it ends, all but the last
    cuts go channel by channel.
    """
    slots = math.gcd(*(group.units for group in bundle))
    order: list[tuple[Group, list[int]]] = []
    steps, values, most = 1, np.zeros(slots), slots - 1
    known = [scores[id(group)] for group in bundle]
    for group, score in zip(bundle, known, strict=True):
        each = group.units // slots
        value = np.zeros(group.units) if score is None else score
        units = _removable(group, np.argsort(value, kind="stable").tolist(), pruning.max_sparsity, lost)
        most = min(most, len(units) // each)
        order.append((group, units))
        full = np.pad(value[units], (0, group.units - len(units)), constant_values=np.inf)
        values += full.reshape(slots, each).mean(1) / sum(one is not None for one in known)
        steps = math.lcm(steps, pruning.round_to // math.gcd(pruning.round_to, max(round(each * group.width), 1)))
    ends = [cut for cut in range(1, most + 1) if (slots - cut) % steps == 0]
    channels = sum(group.width * group.units for group in bundle)
    width, before = channels / slots, float(sum(lost.get((group.root, True), 0) for group in bundle))
    limit, ahead = _limit(bundle, pruning.limits), 0.0
    if pruning.part < 1 and (pruning.scope == "local" or limit is not None):
        wanted = (pruning.sparsity if limit is None else limit) * (channels + before) - before
        ends = _on_the_way(ends, wanted / width)
    elif before and slots % steps:  # the last of several cuts counts from the multiple above, or could stop between two
        ahead = width * (steps - slots % steps)
    rungs = [
        _Rung(
            score=float(values[start:end].mean()),
            channels=width * (end - start) + (0 if start else ahead),
            units=[
                (group, units[start * (group.units // slots) : end * (group.units // slots)]) for group, units in order
            ],
        )
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    return _Ladder(width * slots + before, before - ahead, rungs, limit)


def _on_the_way(ends: list[int], wanted: float) -> list[int]:
    """Return places one by one up to that of the given ones where the last of several cuts will end."""
    last = next((end for end in ends if end >= wanted - _ROUNDING), max(ends, default=0))
    return list(range(1, last + 1))


def _removable(group: Group, units: list[int], max_sparsity: float, lost: Mapping[Side, int]) -> list[int]:
    """Return units in the given order, without those that would take too much from any layer."""
    counts = [np.bincount(unit, minlength=group.units) for _, unit in group.sides.values()]
    left = np.array([each.sum() for each in counts], float)
    first = left + [lost.get(side, 0) for side in group.sides]
    least = np.maximum(1, np.ceil(first * (1 - max_sparsity) - _ROUNDING))
    taken = np.stack(counts, 1)
    kept: list[int] = []
    for unit in units:
        if (left - taken[unit] >= least).all():
            left = left - taken[unit]
            kept.append(unit)
    return kept


def _limit(bundle: list[Group], limits: Mapping[str, float]) -> float | None:
    """Return the smallest share that any layer with output channels in a bundle is limited to."""
    layers = {name for group in bundle for name, out in group.sides if out}
    return min((limits[name] for layer in layers if (name := limited_by(layer, limits)) is not None), default=None)


def limited_by(layer: str, limits: Mapping[str, float]) -> str | None:
    """Return the longest name among the limits that is a layer's or that of a module around it."""
    names = [name for name in limits if layer == name or layer.startswith(f"{name}.") or name == ""]
    return max(names, key=len, default=None)
