"""How accuracy under attack and the repeatability of decisions are worded, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from reports.document import Repeatability
from reports.robustness_parts import Attribution, MinimalNorm, Robustness, Rule, Stage, Step
from reports.wording import NULL, plain, significant

FILE = "file"
"""The source of a step that replayed images."""


def repeatability_told(found: Repeatability) -> str:
    """Return whether decisions were the same again, as `200 images asked 3 times, ...: no decision changed, ...`."""
    scores = "scores equal"
    if found.largest_difference:
        scores = f"scores up to {significant(found.largest_difference)} of their spread apart"
    changed = {
        "from run to run": found.changed_by_run,
        "with the place in the batch": found.changed_by_position,
        "with the batch size": found.changed_by_batch,
    }
    told = ", ".join(f"{count:,} {how}" for how, count in changed.items() if count)
    decisions = f"decisions changed: {told}" if told else "no decision changed"
    asked = f"{found.images:,} images asked {found.runs:,} times, in other places and batches"
    votes = f"; each decision is the majority of {found.votes:,} runs" if found.votes > 1 else ""
    fault = f"; its answers are {plain(found.fault)}, so that no number here can be believed" if found.fault else ""
    return f"{asked}: {decisions}, {scores}{votes}{fault}"


def is_doubtful(found: Repeatability) -> bool:
    """Return whether decisions were not the same every time, or worse."""
    changed = found.changed_by_run or found.changed_by_position or found.changed_by_batch
    return bool(changed) or found.votes > 1 or found.fault is not None


def ran_told(steps: Sequence[Step]) -> str:
    """Return what ran, arm by arm, as `transfer: apgd-ce on float, apgd-ce on twin; loop: apgd-dlr on twin`."""
    arms: dict[str, dict[str, None]] = {}
    for step in steps:
        arms.setdefault(step.arm, {})[_step_told(step)] = None
    return "; ".join(f"{plain(arm)}: {', '.join(attacks)}" for arm, attacks in arms.items())


def _step_told(step: Step) -> str:
    if step.source is None:
        return plain(step.attack)
    return plain(f"{step.attack} from a file" if step.source == FILE else f"{step.attack} on {step.source}")


def source_told(step: Step) -> str:
    """Return whose gradients a step followed."""
    if step.source is None:
        return "none: engine alone"
    return "none: images of a file" if step.source == FILE else plain(step.source)


def minimal_norm_told(found: MinimalNorm, norm: str) -> str:
    """Return the smallest change that fools the engine, as `median 0.0312 (linf) of the 350 images ...`."""
    images = f"of the {found.n:,} images that are right when clean, {found.turned:,} of them turned"
    if found.median is None:
        return f"no median {images}: {plain(found.reason or 'no reason given')}"
    return f"median {significant(found.median)} ({plain(norm)}) {images}"


def sanity_told(rules: Sequence[Rule]) -> str:
    """Return how many rules held, as `8 of 10 sanity rules held, 1 could not be judged`."""
    open_ones = sum(rule.held is None for rule in rules)
    held = f"{sum(rule.held is True for rule in rules)} of {len(rules)} sanity rules held"
    return f"{held}, {open_ones} could not be judged" if open_ones else held


def cautions(entry: Robustness) -> tuple[str, ...]:
    """Return what to be wary of: the rules that did not hold, and the warnings that do not say the same."""
    broken = [rule for rule in entry.sanity if rule.held is False]
    said = {rule.told for rule in broken}
    rules = (f"sanity rule '{rule.rule}' did not hold: {rule.told}" for rule in broken)
    return (*rules, *(warning for warning in entry.warnings if warning not in said))


def stage_rows(attribution: Attribution) -> tuple[tuple[Stage, str], ...]:
    """Return every stage with the robust accuracy it gains over the stage before it in points, as `-3.1`."""
    rows: list[tuple[Stage, str]] = []
    before: Stage | None = None
    for stage in attribution.stages:
        rows.append((stage, NULL if before is None else _points(before, stage)))
        before = stage
    return tuple(rows)


def _points(before: Stage, after: Stage) -> str:
    digits = 1 if min(before.robust.n, after.robust.n) < 2000 else 2
    change = round(100 * (after.robust.value - before.robust.value), digits)
    return f"{change:+.{digits}f}" if change else f"{0:.{digits}f}"
