"""Which cells no other cell beats: the most robust for what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.address import Address
from reports.study.document import Cell, Setting, check_known
from reports.study.rows import Spread, by_setting, over_seeds


@dataclass(frozen=True)
class Candidate:
    """A setting with what it keeps and what it costs, both as means over its seeds."""

    setting: Setting
    robustness: Spread
    cost: Spread


@dataclass(frozen=True)
class Pareto:
    """The front of one robustness over one cost.

    Attributes:
        robustness: address of what is to be high.
        cost: address of what is to be low.
        front: the settings that none other beats, cheapest first; equals are all on it.
        dominated: the others, cheapest first.
        unmeasured: settings that lack one of the two numbers.
    """

    robustness: Address
    cost: Address
    front: tuple[Candidate, ...]
    dominated: tuple[Candidate, ...]
    unmeasured: tuple[Setting, ...]


def pareto(cells: Iterable[Cell], robustness: Address, cost: Address) -> Pareto:
    """Return the front over the means of every setting's seeds.

    Raises:
        InputError: no cell has such a quantity.
    """
    kept = tuple(cells)
    check_known((robustness, cost), kept)
    candidates, unmeasured = [], []
    for setting, alike in by_setting(kept).items():
        high, low = over_seeds(alike, robustness), over_seeds(alike, cost)
        if high is None or low is None:
            unmeasured.append(setting)
        else:
            candidates.append(Candidate(setting, high, low))
    candidates.sort(key=lambda candidate: (candidate.cost.mean, -candidate.robustness.mean))
    kept_by = on_front([(candidate.robustness.mean, candidate.cost.mean) for candidate in candidates])
    marked = list(zip(candidates, kept_by, strict=True))
    return Pareto(
        robustness,
        cost,
        tuple(candidate for candidate, best in marked if best),
        tuple(candidate for candidate, best in marked if not best),
        tuple(unmeasured),
    )


def on_front(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Return for each (robustness, cost) whether no other is at least as good in both and better in one."""
    best = [False] * len(points)
    highest = cheapest_at = None
    for place in sorted(range(len(points)), key=lambda place: (points[place][1], -points[place][0])):
        robustness, cost = points[place]
        if highest is None or robustness > highest:
            highest, cheapest_at = robustness, cost
        best[place] = robustness == highest and cost == cheapest_at
    return tuple(best)
