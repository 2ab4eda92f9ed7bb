"""Rules about where gradients come from: a fixed function, and the engine's own."""

from __future__ import annotations

import numpy as np

from harness.attacks import draws
from harness.data.dataset import Images
from harness.robustness.decisions import Scores, decide
from harness.robustness.sanity.asking import engine_scores, source_logits
from harness.robustness.sanity.evidence import Evidence
from harness.robustness.sanity.findings import Rule, judged, unjudged

_CHANGED = 0.05  # of decisions
_APART = 0.1  # of the spread of scores
_NOISE = 4 / 255
_NOISE_STREAM = 0
_RANDOM = 1e-4  # of the spread of scores: more than a GPU's order of additions makes
_BY_BATCH = 1e-2  # the same, where other kernels may be chosen
_FEW = 8
_TINY = 1e-12

_NOISE_INSIDE = (
    "noise inside the model makes gradients random and attacks weak; put it into evaluation mode (dropout), remove the "
    "noise, or average gradients over many draws (expectation over transformation, EOT)"
)
_BATCH_STATISTICS = (
    "its answer depends on what else is in the batch, as batch normalisation in training mode does; put the model into "
    "evaluation mode"
)


def source_is_the_engine(evidence: Evidence) -> Rule:
    """The engine and its own source decide and score alike, on clean images and on slightly noisy ones."""
    rule = "gradients are of the engine's own function"
    if evidence.no_gradients:
        return unjudged(rule, evidence.no_gradients)
    images, batch = _clean_and_noisy(evidence), evidence.engagement.batch
    engine, source = engine_scores(evidence.engagement, images), source_logits(evidence.own_source, images, batch)
    if engine.shape != source.shape:
        seen = f"the engine gives {engine.shape[1]} scores and the source {evidence.engagement.own} {source.shape[1]}"
        return judged(rule, False, seen, "they are not of the same model; make the engine and the source again")
    changed = float((decide(engine) != decide(source)).mean())
    apart = _distance(engine, source)
    return judged(
        rule,
        changed <= _CHANGED and apart <= _APART,
        f"on clean and slightly noisy images the source {evidence.engagement.own} decides {changed:.1%} otherwise than "
        f"the engine, with scores {apart:.2g} of their spread apart",
        "attacks climb another function than the engine's, so that robust accuracy is too high; check that both have "
        "the same checkpoint, the same scales and the same normalisation, and build the engine again",
    )


def source_is_fixed(evidence: Evidence) -> Rule:
    """A source gives the same logits to the same images, twice and beside other images."""
    rule = "gradients are not random"
    if evidence.no_gradients:
        return unjudged(rule, evidence.no_gradients)
    images = evidence.engagement.split.images[evidence.probe]
    batch, few = evidence.engagement.batch, images[:_FEW]
    for name, source in evidence.engagement.sources.items():
        first, again = (source_logits(source, images, batch) for _ in range(2))
        if (apart := _distance(first, again)) > _RANDOM:
            seen = f"the source {name}, asked twice, gave logits {apart:.2g} of their spread apart"
            return judged(rule, False, seen, _NOISE_INSIDE)
        if (apart := _distance(first[: len(few)], source_logits(source, few, 2))) > _BY_BATCH:
            seen = f"the source {name}, asked about two images at a time, gave logits {apart:.2g} of their spread apart"
            return judged(rule, False, seen, _BATCH_STATISTICS)
    named = " and ".join(evidence.engagement.sources)
    return judged(rule, True, f"{named}, asked again and about two images at a time, gave the same logits", "")


def _clean_and_noisy(evidence: Evidence) -> Images:
    engagement = evidence.engagement
    images = engagement.split.images[evidence.probe]
    noise = draws.signs(engagement.seed, evidence.probe, _NOISE_STREAM, images.shape[1:]) * np.float32(_NOISE)
    noisy = np.clip(images + noise, 0, 1, dtype=np.float32)
    return np.concatenate([images, noisy])


def _distance(scores: Scores, others: Scores) -> float:
    """Return the mean difference in units of the mean spread; a shift of all of an image's scores is none."""
    finite = np.isfinite(scores).all(axis=1) & np.isfinite(others).all(axis=1)
    if not finite.any():
        return 0.0
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (scores[finite], others[finite]))
    spread = float((one.max(axis=1) - one.min(axis=1)).mean())
    return float(np.abs(one - other).mean()) / max(spread, _TINY)
