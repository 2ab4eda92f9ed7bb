"""Rules about the number of steps: one finds less than many, and many are enough."""

from __future__ import annotations

from harness.robustness.sanity.evidence import ALONG_GRADIENTS, Evidence
from harness.robustness.sanity.findings import Rule, judged, unjudged

_MORE = 0.02  # of the probe


def one_step_finds_less(evidence: Evidence) -> Rule:
    """FGSM finds no more on the probe than the arms along gradients did there; one image may be chance."""
    rule = "one step finds less than many"
    if reason := _unclimbed(evidence):
        return unjudged(rule, reason)
    one = int(evidence.extra.one_step.sum())
    many = int(evidence.turned(*ALONG_GRADIENTS)[evidence.probe].sum())
    return judged(
        rule,
        one <= many + 1,
        f"of {len(evidence.probe)} images a single step (FGSM) turned {one}, the arms along gradients {many}",
        "an attack of many steps that finds less gets stuck; try a larger step size, a random start or apgd-ce, which "
        "finds its own step sizes",
    )


def steps_are_enough(evidence: Evidence) -> Rule:
    """Twice as many steps find hardly anything that is new: the loss has settled."""
    rule = "doubling the steps changes nothing"
    if reason := _unclimbed(evidence):
        return unjudged(rule, reason)
    known = evidence.extra.as_asked | evidence.turned(*ALONG_GRADIENTS)[evidence.probe]
    more = int((evidence.extra.twice_the_steps & ~known).sum())
    steps, n = evidence.extra.attack.steps, len(evidence.probe)
    return judged(
        rule,
        more <= max(1, _MORE * n),
        f"{evidence.extra.attack.name} with {2 * steps} steps instead of {steps} turned {more} of {n} images that "
        "nothing else had turned",
        "the loss has not settled when the attack ends, so that robust accuracy is too high; set more steps, or try "
        "apgd-ce, which finds its own step sizes",
    )


def _unclimbed(evidence: Evidence) -> str | None:
    return evidence.no_gradients or (None if evidence.climbed else "no arm along gradients ran")
