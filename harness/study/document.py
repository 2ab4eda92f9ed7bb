"""The study's documents: what came of every cell as JSON and CSV, and the page with the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contracts.files import write_json
from harness import __version__
from harness.devices.environment import environment
from harness.study.cell import Cell
from harness.study.folder import StudyFolder
from harness.study.plan import Plan
from harness.workflow.settings import resolve

JSON, CSV, PAGE, FEATURES = "study.json", "study.csv", "study.html", "features.json"


def write_document(plan: Plan, folder: StudyFolder, cells: Sequence[Cell], command: str) -> None:
    """Write what is known of every cell of the study, those included that were not tried.

    Args:
        plan: the study.
        folder: where it lies.
        cells: all that the document speaks of.
        command: that reproduces it.
    """
    from reports.study.document import StudyDocument
    from reports.study.rows import rows, write_csv

    document = StudyDocument.from_json(
        {
            "schema_version": 1,
            "created": datetime.now(timezone.utc).isoformat(),
            "harness_version": __version__,
            "command": command,
            "environment": environment().to_json(),
            "dataset": resolve(plan.experiment, Path("unused"), ()).experiment.data.name,
            "cells": list(_cells(folder, cells)),
            "features": FEATURES if (folder.path / FEATURES).exists() else None,
        }
    )
    write_json(folder.path / JSON, document.to_json())
    write_csv(rows(document.cells), folder.path / CSV)


def _cells(folder: StudyFolder, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        named = {
            "id": cell.name,
            "base": cell.base,
            "compression": cell.compression,
            "sparsity": cell.sparsity,
            "bits": cell.bits,
            "quantization": cell.quantization,
            "finetune": cell.finetune,
            "seed": cell.seed,
        }
        card = folder.card(cell)
        if card is None:
            yield {**named, "state": "missing", "reason": "it has not been made yet"}
        else:
            yield {**named, **{key: value for key, value in card.items() if key != "made_from"}}


def write_page(folder: StudyFolder) -> Path:
    """Write the study's page from its document and return where it lies."""
    from reports.study.document import read_study
    from reports.study.page import write_study_page

    page = folder.path / PAGE
    write_study_page(read_study(folder.path / JSON), folder.path, page)
    return page
