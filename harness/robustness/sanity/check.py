"""All sanity rules. A new one is a function and a line here."""

from __future__ import annotations

from collections.abc import Callable

from harness.robustness.sanity import accuracies, between_arms, gradients, radii, scores, sources, steps
from harness.robustness.sanity.evidence import Evidence
from harness.robustness.sanity.findings import Rule

RULES: tuple[Callable[[Evidence], Rule], ...] = (
    accuracies.robust_at_most_clean,
    accuracies.scores_finite,
    accuracies.decides_alike,
    accuracies.undefended_falls,
    scores.scores_are_logits,
    scores.enough_classes,
    sources.source_is_fixed,
    sources.source_is_the_engine,
    gradients.gradients_are_alive,
    radii.radius_in_pixel_range,
    steps.one_step_finds_less,
    steps.steps_are_enough,
    radii.success_grows,
    radii.large_radius_fools,
    between_arms.queries_find_less,
    between_arms.noise_finds_least,
)


def check(evidence: Evidence) -> tuple[Rule, ...]:
    """Judge every rule, in the order of `RULES`."""
    return tuple(rule(evidence) for rule in RULES)
