"""What a sanity rule says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule that was looked at.

    Attributes:
        rule: what must hold, in a few words.
        held: whether it did; None where it could not be judged.
        told: what was seen; where the rule did not hold also what that means and what to try; where it could not be
            judged, why.
    """

    rule: str
    held: bool | None
    told: str


def judged(rule: str, held: bool, seen: str, advice: str) -> Rule:
    """Return a rule's outcome.

    Args:
        rule: what must hold.
        held: whether it does.
        seen: the numbers.
        advice: what it means that it does not hold, and what to try, as `it means; try`.
    """
    return Rule(rule, held, seen if held else f"{seen}: {advice}")


def unjudged(rule: str, reason: str) -> Rule:
    """Return the outcome of a rule that could not be judged."""
    return Rule(rule, None, reason)
