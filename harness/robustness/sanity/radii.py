"""Rules about the radius: a larger one finds more, a large one everything, and it is in the right unit."""

from __future__ import annotations

from harness.robustness.sanity.evidence import ALONG_GRADIENTS, Evidence
from harness.robustness.sanity.findings import Rule, judged, unjudged

_ALL = 0.99
_HALF_A_LEVEL = 1 / 510
_LARGE = 0.5  # of the range of a value, or of the diagonal


def large_radius_fools(evidence: Evidence) -> Rule:
    """At a radius from which a plain gray image can be reached, the attack turns nearly everything."""
    rule = "a large epsilon turns everything"
    if evidence.no_gradients:
        return unjudged(rule, evidence.no_gradients)
    turned, n = int(evidence.extra.large_radius.sum()), len(evidence.probe)
    return judged(
        rule,
        turned >= _ALL * n,
        f"at epsilon {evidence.extra.large_epsilon:g}, {evidence.extra.attack.name} turned {turned} of {n} images",
        "no model can stand this, so that the attack fails for another reason: gradients that vanish or are of another "
        "function than the engine's, or too few steps; compare the engine with its source and try apgd-dlr",
    )


def success_grows(evidence: Evidence) -> Rule:
    """Half the radius turns no more images, and a large one no fewer; one image may be chance."""
    rule = "a larger epsilon turns more"
    if evidence.no_gradients:
        return unjudged(rule, evidence.no_gradients)
    extra, n = evidence.extra, len(evidence.probe)
    half, asked, large = (int(mask.sum()) for mask in (extra.half_the_radius, extra.as_asked, extra.large_radius))
    epsilon = evidence.engagement.epsilon
    return judged(
        rule,
        half <= asked + 1 and asked <= large + 1,
        f"of {n} images {extra.attack.name} turned {half} at epsilon {epsilon / 2:g}, {asked} at {epsilon:g} and "
        f"{large} at {extra.large_epsilon:g}",
        "a larger ball holds the smaller one, so that the attack loses its way in it; try apgd-ce, which finds its own "
        "step sizes, or more steps",
    )


def radius_in_pixel_range(evidence: Evidence) -> Rule:
    """Epsilon is neither so small nor so large that another unit must be meant, and it is felt."""
    rule = "epsilon is in units of the pixel range"
    epsilon, norm = evidence.engagement.epsilon, evidence.engagement.norm
    largest = _LARGE if norm == "linf" else _LARGE * evidence.diagonal
    seen = f"epsilon is {epsilon:g} ({epsilon * 255:.3g}/255) in {norm}"
    if epsilon < _HALF_A_LEVEL:
        advice = (
            "that is less than half a level of an 8-bit image, as if it had been divided by 255 twice; give it as a "
            "fraction of the pixel range, 8/255 as 0.0314"
        )
        return judged(rule, False, seen, advice)
    if epsilon >= largest:
        advice = (
            f"from {largest:.3g} on every image can be made a plain gray one, which no model can stand; give it as a "
            "fraction of the pixel range, 8/255 as 0.0314"
        )
        return judged(rule, False, seen, advice)
    if evidence.no_gradients or not evidence.climbed or evidence.turned(*ALONG_GRADIENTS).any():
        return judged(rule, True, seen, "")
    large = int(evidence.extra.large_radius.sum())
    return judged(
        rule,
        large == 0,  # then nothing works, which other rules say
        f"{seen} and attacks along gradients turned nothing, but {large} of {len(evidence.probe)} images at epsilon "
        f"{evidence.extra.large_epsilon:g}",
        "it may be in the wrong unit; give it as a fraction of the pixel range, or report it as the small radius that "
        "it is",
    )
