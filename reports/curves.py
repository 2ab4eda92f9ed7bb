"""Robust accuracy over epsilon: which results of one engine belong to one curve."""

from __future__ import annotations

from dataclasses import dataclass

from reports.document import ResultDocument
from reports.robustness_parts import Rate


@dataclass(frozen=True)
class Curve:
    """Robust accuracy of one engine under one attack, as epsilon grows.

    Attributes:
        attack: name of the attack.
        norm: what epsilon is measured in.
        points: (epsilon, accuracy) in rising order of epsilon, the first at 0: accuracy on clean images, where known.
    """

    attack: str
    norm: str
    points: tuple[tuple[float, Rate], ...]


def curves(document: ResultDocument) -> tuple[Curve, ...]:
    """Return a curve for every attack and norm with at least two epsilons; of equal epsilons, the weakest result."""
    found: dict[tuple[str, str], dict[float, Rate]] = {}
    for entry in document.robustness:
        points = found.setdefault((entry.attack, entry.norm), {})
        known = points.get(entry.epsilon)
        if known is None or entry.worst_case.value < known.value:
            points[entry.epsilon] = entry.worst_case
    clean = document.accuracy.clean
    start = {} if clean is None else {0.0: clean}
    return tuple(
        Curve(attack, norm, tuple(sorted({**start, **points}.items())))
        for (attack, norm), points in found.items()
        if len(points) > 1
    )
