"""The study's documents: what came of every cell as JSON and CSV, and the page with the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contracts.files import write_json
from harness import __version__
from harness.devices.environment import environment
from harness.study import made_from
from harness.study.cell import Cell
from harness.study.folder import StudyFolder
from harness.study.plan import Plan
from reports.study.document import State, StudyDocument, read_study

JSON, CSV, PAGE, FEATURES = "study.json", "study.csv", "study.html", "features.json"

_MISSING: State = "missing"


def outcome(plan: Plan, folder: StudyFolder, cell: Cell) -> Mapping[str, Any]:
    """Return what came of a cell as the plan is today: its state, the reason where it is not finished, its numbers.

    A cell that was made with other settings counts as missing; the weights of its base model are not looked at.
    """
    card = folder.card(cell.name)
    reason = "it has not been made yet"
    if card is not None:
        outdated = made_from.outdated(card["made_from"], made_from.settings(plan, cell))
        if outdated is None:
            return {key: value for key, value in card.items() if key != "made_from"}
        reason = outdated
    return {"state": _MISSING, "reason": reason}


def document(plan: Plan, folder: StudyFolder, cells: Sequence[Cell], command: str) -> StudyDocument:
    """Return what is known of cells of the study, those included that were not tried.

    Args:
        plan: the study.
        folder: where it lies.
        cells: all that the document speaks of.
        command: that reproduces it.
    """
    return StudyDocument.from_json(
        {
            "schema_version": 1,
            "created": datetime.now(timezone.utc).isoformat(),
            "harness_version": __version__,
            "command": command,
            "environment": environment().to_json(),
            "dataset": plan.values["data"]["name"],
            "cells": [{**_named(cell), **outcome(plan, folder, cell)} for cell in cells],
            "features": FEATURES if (folder.path / FEATURES).exists() else None,
        }
    )


def write_document(plan: Plan, folder: StudyFolder, command: str) -> None:
    """Write what is known of every cell of the study as JSON and as CSV."""
    from reports.study.rows import rows, write_csv

    known = document(plan, folder, plan.grid(), command)
    write_json(folder.path / JSON, known.to_json())
    write_csv(rows(known.cells), folder.path / CSV)


def write_page(folder: StudyFolder) -> Path:
    """Write the study's page from its document and return where it lies."""
    from reports.study.page import write_study_page

    page = folder.path / PAGE
    write_study_page(read_study(folder.path / JSON), folder.path, page)
    return page


def _named(cell: Cell) -> dict[str, Any]:
    names = ("base", "compression", "sparsity", "bits", "quantization", "finetune", "seed")
    return {"id": cell.name, **{name: getattr(cell, name) for name in names}}
