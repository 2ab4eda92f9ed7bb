"""The smallest engine that holds conditions, or which condition stands in the way.

Decided on means over seeds: a setting is shipped, not a seed, and a lucky seed is no reason to ship it. A setting
with a condition on something that no seed measured is not chosen, nor one that was judged on the twin alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.address import Address, Condition, parse_address
from reports.study.document import Cell, Setting, check_known
from reports.study.rows import Spread, by_setting, over_seeds

ENGINE_BYTES = parse_address("memory.engine_bytes")


@dataclass(frozen=True)
class Choice:
    """What was decided.

    Attributes:
        setting: the setting chosen; None where none holds every condition.
        cells: its cells, one a seed; empty where there is none.
        objective: the number that is least, over its seeds.
        told: the decision as a sentence; where there is none, what fails how often and what comes nearest.
    """

    setting: Setting | None
    cells: tuple[Cell, ...]
    objective: Spread | None
    told: str


@dataclass(frozen=True)
class _Judged:
    """A setting against every condition, in their order."""

    setting: Setting
    cells: tuple[Cell, ...]
    values: tuple[Spread | None, ...]
    verdicts: tuple[bool | None, ...]
    objective: Spread | None


def best(cells: Iterable[Cell], conditions: Sequence[Condition], objective: Address = ENGINE_BYTES) -> Choice:
    """Return the setting with the least objective among those on an engine where every condition is decided true.

    Args:
        cells: the cells of a study.
        conditions: on means over seeds; none means every setting will do.
        objective: address of what is to be small.

    Raises:
        InputError: no cell has a quantity at one of the addresses.
    """
    kept = tuple(cells)
    if not kept:
        return Choice(None, (), None, "the study has no cells")
    deployed = {setting: alike for setting, alike in by_setting(kept).items() if _on_engine(alike)}
    if not deployed:
        return Choice(None, (), None, "no cell was judged on an engine yet: --list says what came of each")
    check_known([*(condition.address for condition in conditions), objective], kept)
    judged = [_judge(setting, alike, conditions, objective) for setting, alike in deployed.items()]
    holding = [entry for entry in judged if all(entry.verdicts)]
    measured = [(entry.objective.mean, entry) for entry in holding if entry.objective is not None]
    if measured:
        _, least = min(measured, key=lambda pair: pair[0])
        return Choice(least.setting, least.cells, least.objective, _chosen(least, conditions, objective, len(measured)))
    if holding:
        names = "; ".join(entry.setting.name for entry in holding)
        return Choice(None, (), None, f"{objective} was not measured of what holds every condition: {names}")
    return Choice(None, (), None, _nothing(judged, conditions))


def _on_engine(cells: Iterable[Cell]) -> bool:
    return any(asked.on == "engine" for cell in cells for asked in cell.evaluations)


def _judge(setting: Setting, cells: tuple[Cell, ...], conditions: Sequence[Condition], objective: Address) -> _Judged:
    values = tuple(over_seeds(cells, condition.address) for condition in conditions)
    verdicts = tuple(
        condition.decide(None if value is None else value.mean)
        for condition, value in zip(conditions, values, strict=True)
    )
    return _Judged(setting, cells, values, verdicts, over_seeds(cells, objective))


def _chosen(least: _Judged, conditions: Sequence[Condition], objective: Address, holding: int) -> str:
    assert least.objective is not None
    seen = ", ".join(
        f"{condition.address} {_told(value)}" for condition, value in zip(conditions, least.values, strict=True)
    )
    fewest = min([value.seeds for value in least.values if value] + [least.objective.seeds])
    return (
        f"{least.setting.name}: the least {objective}, {_told(least.objective)}, of {holding} settings that hold every "
        f"condition{' (' + seen + ')' if seen else ''}, by means over {fewest} of {len(least.cells)} seeds"
    )


def _nothing(judged: Sequence[_Judged], conditions: Sequence[Condition]) -> str:
    counts = []
    for place, condition in enumerate(conditions):
        verdicts = [entry.verdicts[place] for entry in judged]
        failed, unknown = verdicts.count(False), verdicts.count(None)
        if failed or unknown:
            counts.append(f"{condition} fails in {failed}" + (f" and was not measured in {unknown}" if unknown else ""))
    nearest = min(judged, key=lambda entry: _distance(entry, conditions))
    misses = ", ".join(
        f"{condition.address} {_told(value)}"
        for condition, value, verdict in zip(conditions, nearest.values, nearest.verdicts, strict=True)
        if not verdict
    )
    return (
        f"none of {len(judged)} settings on an engine holds every condition (by means over seeds): "
        f"{'; '.join(counts)}; nearest comes {nearest.setting.name} with {misses}"
    )


def _distance(entry: _Judged, conditions: Sequence[Condition]) -> tuple[int, int, float]:
    """Order by how many conditions do not hold, then how many are unknown, then by how far the bounds are missed."""
    missed = sum(
        abs(value.mean - condition.bound) / (abs(condition.bound) or 1.0)
        for condition, value, verdict in zip(conditions, entry.values, entry.verdicts, strict=True)
        if value is not None and not verdict
    )
    return len(conditions) - entry.verdicts.count(True), entry.verdicts.count(None), missed


def _told(value: Spread | None) -> str:
    if value is None:
        return "not measured"
    # Three digits would hide what is missed by less.
    return f"{value.mean:.6g}" if value.sd is None else f"{value.mean:.6g} ± {value.sd:.3g}"
