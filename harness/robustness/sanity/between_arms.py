"""Rules that hold arms against each other."""

from __future__ import annotations

from harness.robustness.arms import NOISE, QUERY
from harness.robustness.sanity.evidence import ALONG_GRADIENTS, Evidence
from harness.robustness.sanity.findings import Rule, judged, unjudged

_UNIQUE = 0.01  # of the images that are right when clean


def queries_find_less(evidence: Evidence) -> Rule:
    """Attacks that only ask find hardly anything that those along gradients do not (Athalye et al. 2018)."""
    rule = "queries find less than gradients"
    if QUERY not in evidence.outcomes or not evidence.climbed:
        return unjudged(rule, "this takes an arm of queries and one along gradients")
    alone = int((evidence.turned(QUERY) & ~evidence.turned(*ALONG_GRADIENTS)).sum())
    right = len(evidence.engagement.right)
    return judged(
        rule,
        alone <= max(1, _UNIQUE * right),
        f"of {right} images, queries alone turned {alone} that no attack along gradients turned",
        "gradients are masked, or of another function than the engine's; compare the engine with its source, and try "
        "apgd-dlr or apgd-t, whose losses do not vanish",
    )


def noise_finds_least(evidence: Evidence) -> Rule:
    """Random noise turns no more images than any arm that aims."""
    rule = "random noise finds least"
    others = [name for name in evidence.outcomes if name != NOISE]
    if NOISE not in evidence.outcomes or not others:
        return unjudged(rule, "this takes an arm of noise and another one")
    counts = {name: int(evidence.turned(name).sum()) for name in evidence.outcomes}
    weakest = min(others, key=lambda name: counts[name])
    return judged(
        rule,
        counts[NOISE] <= counts[weakest] + 1,  # one image more is chance
        f"noise turned {counts[NOISE]} images, the arm {weakest} {counts[weakest]}",
        f"the arm {weakest} finds less than chance, so that its attack does not work on this engine; check its "
        "gradients, its step size and its budget",
    )
