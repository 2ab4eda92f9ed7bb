"""Rules about accuracies and decisions, which need no further attack."""

from __future__ import annotations

import numpy as np

from harness.robustness.decisions import UNDECIDED, decide
from harness.robustness.sanity.evidence import Evidence
from harness.robustness.sanity.findings import Rule, judged, unjudged

_FALLEN = 0.05
_CHANGED = 0.01  # of decisions about clean images
_ONE_LEVEL = 1 / 255


def robust_at_most_clean(evidence: Evidence) -> Rule:
    """Accuracy after each arm, over all images, is not above the clean one; nor above the clean one asked for again.

    The arms begin with the decisions of the clean pass: an engine that has changed since would lend them its own.
    """
    rule = "attacks do not raise accuracy"
    if not evidence.outcomes:
        return unjudged(rule, "no arm ran")
    labels, decided = evidence.engagement.split.labels, evidence.engagement.clean_decisions
    again = decide(evidence.clean_scores)
    clean, now = float((decided == labels).mean()), float((again == labels).mean())
    after = {name: float((arm.decisions == labels).mean()) for name, arm in evidence.outcomes.items()}
    highest, changed = max(after, key=lambda name: after[name]), int((again != decided).sum())
    return judged(
        rule,
        after[highest] <= min(clean, now) and changed <= max(1, _CHANGED * len(labels)),
        f"accuracy is {clean:.2%} when clean, {now:.2%} with {changed} other decisions when asked again after the "
        f"attacks, and {after[highest]:.2%} after the arm {highest}",
        "the numbers are not of one engine on the same images, as where it, the number of threads or the machine "
        "changed in between; evaluate again with --again, and measure whether the engine decides alike every time",
    )


def undefended_falls(evidence: Evidence) -> Rule:
    """The same attack brings a model without any defence to nearly no accuracy."""
    rule = "an undefended model falls"
    found = evidence.undefended
    if found is None:
        return unjudged(rule, "no model trained without a defence is at hand")
    epsilon = evidence.engagement.epsilon
    level = epsilon if evidence.engagement.norm == "linf" else epsilon / evidence.diagonal
    if level < _ONE_LEVEL:
        return unjudged(rule, f"epsilon {epsilon:g} is too small for any model to fall")
    told = f"the model before any defence keeps {found:.1%} under attack"
    if found > _FALLEN and found < evidence.robust:
        return unjudged(rule, f"{told}: epsilon may be small for these images")
    return judged(
        rule,
        found <= _FALLEN,
        told,
        "no less than the engine's, so that either the defence is worth nothing or the attack is weak, and other "
        "numbers may be too high as well; try more steps, another attack or a larger epsilon, which must bring it down",
    )


def scores_finite(evidence: Evidence) -> Rule:
    """No score of the engine is NaN or infinite, clean or under attack."""
    rule = "scores are finite"
    n = len(evidence.clean_scores)
    clean = int((~np.isfinite(evidence.clean_scores).all(axis=1)).sum())
    labels, decided = evidence.engagement.split.labels, evidence.engagement.clean_decisions
    attacked = np.zeros(n, np.bool_)
    for arm in evidence.outcomes.values():
        attacked |= (arm.decisions == UNDECIDED) & (decided == labels)
    return judged(
        rule,
        clean == 0 and not attacked.any(),
        f"scores of {clean} of {n} clean images and of {int(attacked.sum())} adversarial ones are not finite",
        "they count as wrong, though an overflow is no decision; look for the first layer that overflows, as it may in "
        "half precision, or build with a wider type",
    )


def decides_alike(evidence: Evidence) -> Rule:
    """What fooled the engine during an attack fools it in the final pass."""
    rule = "the final pass decides as the attack saw it"
    wavering = {name: arm.wavering for name, arm in evidence.outcomes.items()}
    if not wavering:
        return unjudged(rule, "no arm ran")
    found = sum(wavering.values())
    where = ", ".join(f"{count} in {name}" for name, count in wavering.items() if count)
    return judged(
        rule,
        found == 0,
        f"{found} images fooled the engine during an attack and not in the final pass"
        + (f" ({where})" if where else ""),
        "the engine wavers, so that robust accuracy is known only up to these; try deterministic kernels, a single "
        "thread or one batch size",
    )
