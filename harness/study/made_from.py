"""What a cell is made from: its settings, and the weights of its base model by their content, wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.study.cell import Cell
from harness.study.plan import Plan, Values, cell_values, strong_values
from harness.workflow.settings import check
from harness.workflow.settings_difference import difference

SETTINGS, BASE = "settings", "base"


def settings(plan: Plan, cell: Cell) -> list[Values]:
    """Return a cell's whole settings of today: under the paper's protocol and, where it is asked, the strong one."""
    values = cell_values(plan, cell, Path("unused"))
    asked = [values, strong_values(plan, values)] if cell.strong else [values]
    return [_without_place(check(each, cell.name).model_dump(mode="json")) for each in asked]


def outdated(made_from: Any, today: Sequence[Values]) -> str | None:
    """Return why a cell was made with other settings than today's, None where it was not.

    Args:
        made_from: what the cell's card says of it.
        today: see `settings`.
    """
    was = made_from.get(SETTINGS) if isinstance(made_from, Mapping) else None
    if not isinstance(was, list) or not all(isinstance(each, Mapping) for each in was):
        return "it was made by an older harness, which did not keep its settings"
    for old, new in zip(was, today):  # noqa: B905  the strong protocol may have come or gone
        if differs := difference(old, new):
            return f"it was made with other settings: {differs}"
    if len(was) != len(today):
        asked, now = ("", "not ") if len(was) > len(today) else ("not ", "")
        return f"it was made with other settings: the strong protocol was {asked}asked and is {now}asked now"
    return None


def _without_place(values: Values) -> Values:
    return {**values, "model": {**values["model"], "checkpoint": None}}
