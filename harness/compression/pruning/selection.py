"""Which units go: the least important first, as many as it takes, never more than a layer may lose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.compression.pruning.groups import Group, Side
from harness.compression.pruning.importance import Scores
from harness.compression.pruning.settings import Pruning

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
    """What may go of a bundle, the least important first."""

    channels: float
    rungs: list[_Rung]
    limit: float | None


def select(bundles: list[list[Group]], scores: Mapping[int, Scores | None], pruning: Pruning) -> _Units:
    """Return the units that go of every group.

    Args:
        bundles: of `find_groups`.
        scores: id of a group -> importance of its units; bundles without any stay whole.
        pruning: shares, limits and scope.
    """
    ladders = [
        _ladder(bundle, scores, pruning) for bundle in bundles if any(scores[id(each)] is not None for each in bundle)
    ]
    gone: _Units = []
    for ladder in ladders:
        if ladder.limit is not None:
            gone += _climb([ladder], ladder.limit)
    free = [ladder for ladder in ladders if ladder.limit is None]
    for pool in [free] if pruning.scope == "global" else [[each] for each in free]:
        gone += _climb(pool, pruning.sparsity)
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
    taken: float = 0
    gone: _Units = []
    for rung in sorted((rung for ladder in ladders for rung in ladder.rungs), key=lambda rung: rung.score):
        if taken >= wanted:
            break
        taken += rung.channels
        gone += rung.units
    return gone


def _ladder(bundle: list[Group], scores: Mapping[int, Scores | None], pruning: Pruning) -> _Ladder:
    """Return what may go of a bundle: every rung leaves multiples of `round_to`, and of every group the same share."""
    slots = math.gcd(*(group.units for group in bundle))
    order: list[tuple[Group, list[int]]] = []
    steps, values, most = 1, np.zeros(slots), slots - 1
    known = [scores[id(group)] for group in bundle]
    for group, score in zip(bundle, known, strict=True):
        each = group.units // slots
        value = np.zeros(group.units) if score is None else score
        units = _removable(group, np.argsort(value, kind="stable").tolist(), pruning.max_sparsity)
        most = min(most, len(units) // each)
        order.append((group, units))
        full = np.pad(value[units], (0, group.units - len(units)), constant_values=np.inf)
        values += full.reshape(slots, each).mean(1) / sum(one is not None for one in known)
        steps = math.lcm(steps, pruning.round_to // math.gcd(pruning.round_to, max(round(each * group.width), 1)))
    ends = [cut for cut in range(1, most + 1) if (slots - cut) % steps == 0]
    width = sum(group.width * group.units for group in bundle) / slots
    rungs = [
        _Rung(
            score=float(values[start:end].mean()),
            channels=width * (end - start),
            units=[
                (group, units[start * (group.units // slots) : end * (group.units // slots)]) for group, units in order
            ],
        )
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    return _Ladder(width * slots, rungs, _limit(bundle, pruning.limits))


def _removable(group: Group, units: list[int], max_sparsity: float) -> list[int]:
    """Return units in the given order, without those that would take too much from any layer."""
    counts = [np.bincount(unit, minlength=group.units) for _, unit in group.sides.values()]
    left = np.array([each.sum() for each in counts], float)
    least = np.maximum(1, np.ceil(left * (1 - max_sparsity) - _ROUNDING))
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
