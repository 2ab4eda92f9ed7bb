"""A study on one screen: the paper against ours at 80 columns, and how many cells are not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.study.document import Setting, StudyDocument
from reports.study.paper import Comparison, compared
from reports.study.wording import doubts_told, points_told, rate_told, state_told
from reports.terminal_lines import table, text, warnings
from reports.wording import NULL, moment

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_TOLD_CELLS = 5


def print_study(console: Console, study: StudyDocument) -> None:
    """Print what was studied, the paper against ours, and the first cells that are missing or failed."""
    states = Counter(cell.state for cell in study.cells)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    console.print(
        text(f"{study.dataset}: {len(study.cells)} cells ({counts or 'none'}), {moment(study.created)}", "bold")
    )
    if study.environment.get("simulated"):
        console.print(text("simulated: these numbers were not measured on a device", "yellow"))
    lines = compared(study)
    known = _engines_first([line for line in lines if line.state is not None or line.row is not None])
    if known:
        studied = {line.paper for line in known}
        console.print(_table(known))
        console.print(text(_footnote(known, sum(line.paper not in studied for line in lines)), "dim"))
    if doubted := doubts_told(study.cells):
        console.print(text(doubted, "yellow"))
    absent = [cell for cell in study.cells if cell.state != "finished"]
    for line in warnings(f"{cell.id}: {cell.reason or 'no reason given'}" for cell in absent[:_TOLD_CELLS]):
        console.print(line)
    if len(absent) > _TOLD_CELLS:
        console.print(text(f"and {len(absent) - _TOLD_CELLS} more that are missing or failed", "yellow"))


def _engines_first(lines: Sequence[Comparison]) -> list[Comparison]:
    """Return a line a setting: what an engine answered, or else the twin; both would fill two screens."""
    kept: dict[Setting, Comparison] = {}
    for line in lines:
        known = kept.setdefault(line.setting, line)
        if known.row and known.row.on == "twin" and line.row and line.row.on == "engine":
            kept[line.setting] = line
    return list(kept.values())


def _table(lines: Sequence[Comparison]) -> Table:
    made = table("cell", "base", "on", "n", "paper", "clean", "diff", "paper", "robust", "diff")
    for line in lines:
        made.add_row(*(text(words) for words in _words(line)))
    return made


def _words(line: Comparison) -> tuple[str, ...]:
    clean = f"{100 * line.paper.clean:.1f}" if line.paper else NULL
    robust = f"{100 * line.paper.robust:.1f}" if line.paper else NULL
    base = {"standard": "std", "robust": "rob"}[line.setting.base]
    if line.row is None:
        return line.name, base, state_told(line.state), NULL, clean, NULL, NULL, robust, NULL, NULL
    seeds = str(len(line.row.seeds)) + ("" if len(line.row.seeds) == line.row.planned else f"/{line.row.planned}")
    return (
        line.name,
        base,
        line.row.on,
        seeds,
        clean,
        _close(rate_told(line.row.clean)),
        points_told(line.clean_points),
        robust,
        _close(rate_told(line.row.robust)),
        points_told(line.robust_points),
    )


def _close(words: str) -> str:
    return words.replace(" ", "")


def _footnote(lines: Sequence[Comparison], left_out: int) -> str:
    attacks = dict.fromkeys(f"{line.row.attack} {line.row.norm} {line.row.epsilon:g}" for line in lines if line.row)
    rest = f"; {left_out} of the paper's levels were not studied" if left_out else ""
    return (
        f"per cent after adversarial fine-tuning under the paper's protocol ({', '.join(attacks) or 'no answers'}), "
        f"mean±sd over n seeds, differences in points; the twin only where no engine answered; "
        f"the paper ran no engine{rest}"
    )
