"""Accuracy under attack in the terminal: the worst case first, then what it is made of and what to be wary of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reports.curves import Curve
from reports.robustness_parts import Attribution, Robustness
from reports.robustness_wording import cautions, minimal_norm_told, ran_told, sanity_told, stage_rows
from reports.terminal_lines import rated, table, text, warnings
from reports.wording import attack_name, interval, percent, plain, significant

if TYPE_CHECKING:
    from rich.console import RenderableType


def robustness(entry: Robustness) -> Iterator[RenderableType]:
    """Return what one attack left of the engine's accuracy, and everything that is to be known of it."""
    yield text(f"{attack_name(entry)}  {rated(entry.worst_case)}", "bold")
    if entry.arms:
        rows = table("arm", "robust", "95 %", "unique wins", "queries", "seconds")
        for name, arm in entry.arms.items():
            rows.add_row(
                text(name),
                percent(arm.value, arm.n),
                text(interval(arm)),
                f"{arm.unique_wins:,}",
                f"{arm.queries:,}",
                significant(arm.seconds),
            )
        yield rows
    yield from _what_ran(entry)
    if entry.minimal_norm is not None:
        yield text(f"smallest change that fools: {minimal_norm_told(entry.minimal_norm, entry.norm)}")
    if entry.attribution is not None and entry.attribution.stages:
        yield from _attribution(entry.attribution)
    if entry.sanity:
        yield text(sanity_told(entry.sanity))
    for rule in entry.sanity:
        if rule.held is None:
            yield text(f"not judged: {rule.rule}: {rule.told}", "dim")
    yield from warnings(cautions(entry))


def curve(found: Curve) -> Iterator[RenderableType]:
    """Return robust accuracy over epsilon as a small table."""
    yield text(f"{plain(found.attack)} {plain(found.norm)} over epsilon", "bold")
    rows = table("epsilon", "robust", "95 %")
    for epsilon, rate in found.points:
        rows.add_row(f"{epsilon:g}" if epsilon else "0 (clean)", percent(rate.value, rate.n), text(interval(rate)))
    yield rows


def _what_ran(entry: Robustness) -> Iterator[RenderableType]:
    if entry.steps:
        yield text(f"what ran: {ran_told(entry.steps)}", "dim")
    for arm, reason in entry.skipped.items():
        yield text(f"{arm} did not run: {reason}", "dim")
    if entry.gradients is not None:
        yield text(f"gradients in {entry.gradients}, decisions in float32", "dim")


def _attribution(attribution: Attribution) -> Iterator[RenderableType]:
    yield text(f"what was lost where, by {attribution.attack} along each model's own gradients:")
    rows = table("stage", "clean", "robust", "95 %", "difference")
    for stage, change in stage_rows(attribution):
        rows.add_row(
            text(stage.stage),
            percent(stage.clean.value, stage.clean.n),
            percent(stage.robust.value, stage.robust.n),
            text(interval(stage.robust)),
            change,
        )
    yield rows
