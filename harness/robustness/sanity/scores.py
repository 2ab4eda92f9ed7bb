"""Rules about what scores are: logits, and enough of them."""

from __future__ import annotations

import numpy as np

from harness.robustness.decisions import Scores
from harness.robustness.sanity.asking import source_logits
from harness.robustness.sanity.evidence import Evidence
from harness.robustness.sanity.findings import Rule, judged, unjudged

_ROUNDINGS = 0.01  # of a sum of probabilities in half precision


def scores_are_logits(evidence: Evidence) -> Rule:
    """Neither the engine nor a source returns probabilities."""
    rule = "scores are logits, not probabilities"
    finite = evidence.clean_scores[np.isfinite(evidence.clean_scores).all(axis=1)]
    if len(finite) == 0:
        return unjudged(rule, "the engine has no finite scores")
    given = {"the engine": finite}
    if not evidence.no_gradients:
        images, batch = evidence.engagement.split.images[evidence.probe], evidence.engagement.batch
        for name, source in evidence.engagement.sources.items():
            given[f"the source {name}"] = source_logits(source, images, batch)
    found = [name for name, scores in given.items() if _are_probabilities(scores)]
    return judged(
        rule,
        not found,
        f"{' and '.join(found)} returned values in [0, 1] whose sum is 1 for every image"
        if found
        else f"{' and '.join(given)} returned scores of no fixed sum",
        "these are probabilities, of which losses take a softmax once more, so that gradients shrink and vanish; "
        "remove the model's softmax, or return its logarithm",
    )


def _are_probabilities(scores: Scores) -> bool:
    inside = (scores >= 0).all() and (scores <= 1).all()
    return bool(inside and (np.abs(scores.sum(axis=1) - 1) <= _ROUNDINGS).all())


def enough_classes(evidence: Evidence) -> Rule:
    """The difference of logits ratio has the classes that it divides by."""
    rule = "the loss has enough classes"
    classes = evidence.clean_scores.shape[1]
    lacking = [attack.name for attack in evidence.attacks if classes < attack.needed_classes]
    return judged(
        rule,
        not lacking,
        f"{', '.join(lacking)} divides by logits that {classes} classes do not have"
        if lacking
        else f"{classes} classes are enough for every attack",
        "it climbs the plain margin in place of the ratio, which depends on the scale of logits and is comparable with "
        "no other library's; run apgd-ce beside it",
    )
