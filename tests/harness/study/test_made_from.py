"""What a finished cell is made from: which changes make it anew, and which do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from harness.study.cell import QUANTIZATION_AWARE, Cell
from harness.study.document import document, outcome
from harness.study.folder import StudyFolder
from harness.study.made_from import outdated, settings
from harness.study.plan import Plan, read_plan
from tests.harness.study.test_plan import MINIMAL

pytestmark = pytest.mark.core

CELL = Cell(base="robust", bits=8, quantization=QUANTIZATION_AWARE)
GROUP = {"base": ["robust"], "bits": [8], "quantization": [QUANTIZATION_AWARE]}


def plan(folder: Path, **changes: Any) -> Plan:
    path = folder / "mine.toml"
    path.write_text(tomli_w.dumps({**MINIMAL, "cells": [GROUP], **changes}), encoding="utf-8")
    return read_plan(str(path))


def card(made: Plan, cell: Cell = CELL, **changes: Any) -> dict[str, Any]:
    made_from = {"settings": settings(made, cell), "base": "5e1f"}
    return {"state": "finished", "reason": None, "made_from": made_from, "parameters": 7, **changes}


def test_the_settings_are_whole_and_know_no_place(tmp_path: Path) -> None:
    paper, strong = settings(plan(tmp_path), replace(CELL, strong=True))
    assert paper["model"]["checkpoint"] is None and strong["model"]["checkpoint"] is None
    assert paper["prune"]["method"] == "none" and paper["finetune"]["epochs"] == 2
    assert strong["eval"]["attack"] == ["autoattack"] != paper["eval"]["attack"]


def test_a_setting_that_came_later_leaves_finished_cells_finished(tmp_path: Path) -> None:
    known = card(plan(tmp_path))
    (paper,) = known["made_from"]["settings"]
    del paper["finetune"]["gradient_clip"], paper["measure"]["cuda_graph"]
    assert outdated(known["made_from"], settings(plan(tmp_path), CELL)) is None
    paper["finetune"]["gradient_clip"] = 0.5
    told = outdated(known["made_from"], settings(plan(tmp_path), CELL))
    assert told == "it was made with other settings: finetune.gradient_clip was 0.5 and is 1.0"


def test_the_strong_protocol_makes_a_difference_when_it_comes_and_goes(tmp_path: Path) -> None:
    made = plan(tmp_path)
    weak, strong = card(made), card(made, replace(CELL, strong=True))
    come = outdated(weak["made_from"], settings(made, replace(CELL, strong=True)))
    gone = outdated(strong["made_from"], settings(made, CELL))
    assert come is not None and come.endswith("the strong protocol was not asked and is asked now")
    assert gone is not None and gone.endswith("the strong protocol was asked and is not asked now")


@pytest.mark.parametrize("foreign", ["161a6ad7", None, 7, {"base": "5e1f"}, {"settings": [7], "base": "5e1f"}])
def test_a_card_of_an_older_harness_counts_as_not_made(tmp_path: Path, foreign: Any) -> None:
    folder, made = StudyFolder(tmp_path / "study"), plan(tmp_path)
    folder.keep(CELL.name, card(made, made_from=foreign))
    found = outcome(made, folder, CELL)
    assert found == {"state": "missing", "reason": "it was made by an older harness, which did not keep its settings"}


def test_the_document_shows_no_cell_of_another_plan_as_finished(tmp_path: Path) -> None:
    folder, made = StudyFolder(tmp_path / "study"), plan(tmp_path)
    folder.keep(CELL.name, card(made))
    (cell,) = document(made, folder, [CELL], "harness study").cells
    assert (cell.state, cell.parameters) == ("finished", 7)
    (cell,) = document(plan(tmp_path, strong_samples=9), folder, [CELL], "harness study").cells
    assert cell.state == "finished", "the strong protocol is not asked of it"
    changed = plan(tmp_path, finetunes={"adversarial": {"method": "pgd", "epochs": 3}})
    (cell,) = document(changed, folder, [CELL], "harness study").cells
    assert (cell.state, cell.parameters) == ("missing", None)
    assert cell.reason == "it was made with other settings: finetune.epochs was 2 and is 3"
