"""Which attacks run in which arm, in which order; and which arms cannot run, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.attacks.attack import Attack, BlackBox
from harness.robustness.arms import ARMS, LOOP, NOISE, QUERY, TRANSFER, Step

BY_SCORES, BY_DECISIONS, AT_RANDOM = "square", "rays", "noise"
"""What the arms `query` and `noise` run where no other such attack is asked for."""

FILE = "file"
"""The source of images that were made elsewhere."""

Found = Callable[[str], Attack | BlackBox]
"""From an attack's name to the attack with the experiment's settings."""


@dataclass(frozen=True)
class Plan:
    """What will run.

    Attributes:
        steps: in order, those of one arm together.
        skipped: the other arms that were asked for, each with the reason.
    """

    steps: tuple[Step, ...]
    skipped: dict[str, str]


def plan(
    arms: Sequence[str],
    attacks: Sequence[str],
    find: Found,
    sources: Sequence[str],
    no_sources: str = "no gradients",
    recorded: BlackBox | None = None,
) -> Plan:
    """Share attacks out among arms.

    Attacks along gradients run in `transfer` and `loop`. One that seeks the nearest point behind the boundary costs the
    most, and only the engine's boundary matters: it follows the engine's own function alone, and once. One that only
    asks has an arm of its own, which runs where it is named, whatever the arms are. The arm `query` asks for scores
    first and for decisions alone then.

    Args:
        arms: names of `ARMS`.
        attacks: names of attacks, in order.
        find: makes an attack.
        sources: names of the models with gradients; the last is the engine's own function.
        no_sources: why there are none, where there are none.
        recorded: shows images that were made elsewhere; it runs in `transfer`, whatever the arms are.
    """
    found = {name: find(name) for name in attacks}
    climbing = [attack for attack in found.values() if attack.needs_gradient]
    asking = [name for name, attack in found.items() if not attack.needs_gradient and name != AT_RANDOM]
    wanted = {*arms, *([QUERY] if asking else []), *([NOISE] if AT_RANDOM in found else [])}
    replayed = [] if recorded is None else [Step(TRANSFER, recorded, FILE)]
    wanted |= {step.arm for step in replayed}
    own = list(sources)[-1:]
    transferred = [
        Step(TRANSFER, attack, source)
        for source in sources
        for attack in climbing
        if not attack.seeks_nearest or (source in own and LOOP not in arms)
    ]
    if QUERY in arms:
        asking = [*(asking or [BY_SCORES]), *([BY_DECISIONS] if BY_DECISIONS not in asking else [])]
    steps = {
        TRANSFER: [*replayed, *(transferred if TRANSFER in arms else [])],
        LOOP: [Step(LOOP, attack, source) for source in own for attack in climbing],
        QUERY: [Step(QUERY, found.get(name) or find(name), None) for name in asking],
        NOISE: [Step(NOISE, found.get(AT_RANDOM) or find(AT_RANDOM), None)],
    }
    return Plan(
        steps=tuple(step for arm in ARMS if arm in wanted for step in steps[arm]),
        skipped={arm: _idle(attacks, climbing, sources, no_sources) for arm in arms if not steps[arm]},
    )


def _idle(attacks: Sequence[str], climbing: Sequence[object], sources: Sequence[str], no_sources: str) -> str:
    """Return why an arm has nothing to run."""
    if not climbing:
        return f"{', '.join(attacks)} follows no gradient: it asks the engine in an arm of its own"
    return f"{', '.join(attacks)} seeks the nearest point once, in the arm {LOOP}" if sources else no_sources
