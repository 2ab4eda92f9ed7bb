"""A tiny study that really runs: an engine, a twin, a cell that fails; and what a second run does not do again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from reports.study.document import StudyDocument, read_study

pytestmark = pytest.mark.slow

EXPERIMENT = {
    "data": {"name": "digits"},
    "model": {"name": "digits-cnn"},
    "eval": {"epsilon": 0.1, "samples": 40, "arms": ["loop"]},
    "attack": {"pgd": {"steps": 3, "random_start": False}, "square": {"queries": 20}},
    "measure": {"batch": [1]},
}
STUDY: dict[str, Any] = {
    "experiment": "tiny.toml",
    "strong_samples": 10,
    "bases": {"robust": {"method": "n-fgsm", "epochs": 2, "learning_rate": 0.05}},
    "finetunes": {"adversarial": {"method": "n-fgsm", "epochs": 1, "learning_rate": 0.05}},
    "strong": {"eval": {"attack": ["pgd", "square"], "arms": ["transfer", "noise", "query"]}},
    "specials": [{"sparsity_from": 0.9, "settings": {"prune": {"ignore": ["no.such.module"]}}}],
    "cells": [
        {"base": ["robust"], "bits": [8], "quantization": ["quantization-aware"], "strong_seeds": [0]},
        {"base": ["robust"], "bits": [4], "quantization": ["post-training"], "strong_seeds": [0]},
        {"base": ["robust"], "sparsity": [0.9]},
    ],
}
ENGINE, TWIN, FAILING = (
    "robust-int8-adversarial-seed0",
    "robust-int4-post-training-adversarial-seed0",
    "robust-pruned-0.9-fp32-adversarial-seed0",
)


@dataclass(frozen=True)
class Ran:
    """A study that was run once for all tests.

    Attributes:
        cwd: where its files lie.
        ended: how the command ended.
    """

    cwd: Path
    ended: subprocess.CompletedProcess[str]

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.cwd / "studies" / "mine"

    @property
    def document(self) -> StudyDocument:
        """What it says of itself."""
        return read_study(self.folder / "study.json")


def study(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "study", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    cwd = tmp_path_factory.mktemp("a study")
    (cwd / "tiny.toml").write_text(tomli_w.dumps(EXPERIMENT), encoding="utf-8")
    (cwd / "mine.toml").write_text(tomli_w.dumps(STUDY), encoding="utf-8")
    return Ran(cwd, study(cwd, "mine.toml"))


def test_every_cell_is_made_and_one_that_fails_does_not_end_the_others(ran: Ran) -> None:
    assert ran.ended.returncode == 2, ran.ended.stderr
    assert "1 of 3 cells failed" in ran.ended.stderr
    states = {cell.id: cell.state for cell in ran.document.cells}
    assert states == {ENGINE: "finished", TWIN: "finished", FAILING: "failed"}
    (failed,) = (cell for cell in ran.document.cells if cell.state == "failed")
    assert failed.reason is not None
    assert "no.such.module" in failed.reason


def test_an_engine_s_numbers_are_those_of_its_result_documents(ran: Ran) -> None:
    (cell,) = (cell for cell in ran.document.cells if cell.id == ENGINE)
    assert [(each.protocol, each.on, each.target) for each in cell.evaluations] == [
        ("paper", "engine", "openvino-int8"),
        ("strong", "engine", "openvino-int8"),
    ]
    for evaluation in cell.evaluations:
        assert evaluation.result is not None
        result = json.loads((ran.folder / evaluation.result).read_text())
        assert evaluation.robust.value == result["robustness"][0]["worst_case"]["value"]
        assert evaluation.clean.value == result["accuracy"]["clean"]["value"]
    assert [each.robust.n for each in cell.evaluations] == [40, 10]
    paper = json.loads((ran.folder / (cell.result or "")).read_text())
    valid = paper["latency"][0]["valid"] and paper["device"]["valid"]  # other programs may be at work here
    assert cell.quantities["latency[batch=1].p50_ms"] == (paper["latency"][0]["p50_ms"] if valid else None)
    assert bool(cell.doubts) is not valid
    assert cell.quantities["memory.engine_bytes"] == paper["memory"]["engine_bytes"]
    assert cell.parameters == paper["subject"]["parameters"]
    assert cell.finetune_passes is not None
    assert 2 <= cell.finetune_passes < 3.5


def test_a_format_that_no_engine_has_is_judged_on_the_twin_and_says_so(ran: Ran) -> None:
    (cell,) = (cell for cell in ran.document.cells if cell.id == TWIN)
    paper, strong = cell.evaluations
    for evaluation in (paper, strong):
        assert (evaluation.on, evaluation.target, evaluation.result) == ("twin", "twin-int4", None)
        assert evaluation.robust.value <= evaluation.clean.value
    assert [(each.protocol, each.attack, each.clean.n) for each in (paper, strong)] == [
        ("paper", "pgd", 40),
        ("strong", "pgd+square", 10),
    ]
    assert "memory.engine_bytes" not in cell.quantities
    assert cell.finetune_passes is not None, "it was fine-tuned before it was quantized"


def test_the_base_is_trained_once_for_all_cells(ran: Ran) -> None:
    assert [path.name for path in (ran.folder / "bases").iterdir()] == ["robust-seed0"]
    log = (ran.folder / "bases/robust-seed0/log.txt").read_text()
    assert log.count("checkpoints/base made") == 1


def test_widths_that_a_float_model_is_quantized_to_share_it(ran: Ran, tmp_path: Path) -> None:
    shutil.copytree(ran.cwd, tmp_path / "copy")
    wider = {**STUDY, "cells": [{"base": ["robust"], "bits": [4, 2], "quantization": ["post-training"]}]}
    (tmp_path / "copy/mine.toml").write_text(tomli_w.dumps(wider), encoding="utf-8")
    ended = study(tmp_path / "copy", "mine.toml")
    assert ended.returncode == 0, ended.stderr
    cells = tmp_path / "copy/studies/mine/cells"
    log = (cells / TWIN.replace("int4", "int2") / "log.txt").read_text()
    assert "checkpoints/finetuned is up to date" in log
    assert "checkpoints/finetuned made" not in log
    assert "checkpoints/final made" in log
    accuracies = {cell.id: cell.evaluations[0].clean.value for cell in read_study(cells.parent / "study.json").cells}
    assert len(set(accuracies.values())) == 2, "two bits are no four"


def test_finished_cells_are_not_made_again_and_failed_ones_are_tried(ran: Ran) -> None:
    before = {name: (ran.folder / "cells" / name / "cell.json").stat().st_mtime_ns for name in (ENGINE, TWIN, FAILING)}
    doubted = {cell.id for cell in ran.document.cells if cell.doubts}
    log = (ran.folder / "cells" / ENGINE / "log.txt").read_text()
    again = study(ran.cwd, "mine.toml")
    assert again.returncode == 2
    after = {name: (ran.folder / "cells" / name / "cell.json").stat().st_mtime_ns for name in before}
    assert {name for name in before if after[name] != before[name]} == {FAILING} | doubted
    news = (ran.folder / "cells" / ENGINE / "log.txt").read_text().removeprefix(log).splitlines()
    made = [line.split()[2] for line in news if " made in " in line]
    assert [Path(path).name.split("-")[0] for path in made] == ["measurement"] * len(doubted)


def test_a_cell_whose_features_are_asked_for_later_gets_them_and_is_not_made_again(ran: Ran) -> None:
    assert not (ran.folder / "features.json").exists()
    (ran.cwd / "drawn.toml").write_text(tomli_w.dumps({**STUDY, "features": [TWIN]}), encoding="utf-8")
    card = (ran.folder / "cells" / TWIN / "cell.json").read_text()
    drawn = study(ran.cwd, "drawn.toml", "--folder", str(ran.folder), "--levels", "int4")
    assert drawn.returncode == 0, drawn.stderr
    assert f"{TWIN} (1 of 1): its features" in drawn.stderr
    assert (ran.folder / "cells" / TWIN / "cell.json").read_text() == card
    (panel,) = json.loads((ran.folder / "features.json").read_text())["panels"]
    assert panel["title"] == TWIN and len(panel["points"]) > 100


def test_a_cell_made_with_other_settings_is_missing_in_the_list_and_to_best(ran: Ran) -> None:
    settings = {"eval": {"samples": 41}}
    (ran.cwd / "other.toml").write_text(tomli_w.dumps({**STUDY, "settings": settings}), encoding="utf-8")
    listed = study(ran.cwd, "other.toml", "--folder", str(ran.folder), "--list", "--levels", "int8")
    assert listed.stdout == f"missing   {ENGINE}: it was made with other settings: eval.samples was 40 and is 41\n"
    best = study(ran.cwd, "other.toml", "--folder", str(ran.folder), "--best", "accuracy.clean > 0")
    assert best.returncode == 1
    assert "no cell was judged on an engine yet" in best.stderr


def test_the_table_the_csv_and_the_page_are_written(ran: Ran) -> None:
    assert "digits" in ran.ended.stdout
    header, *lines = (ran.folder / "study.csv").read_text().splitlines()
    assert "robust_mean" in header
    assert len(lines) == 4  # two cells under two protocols
    assert "<html" in (ran.folder / "study.html").read_text()


def test_levels_cut_it_and_the_list_says_what_came_of_each(ran: Ran) -> None:
    listed = study(ran.cwd, "mine.toml", "--list", "--levels", "int8,int4")
    assert listed.returncode == 0
    assert [line.partition(": ")[0] for line in listed.stdout.splitlines()] == [
        f"finished  {ENGINE}",
        f"finished  {TWIN}",
    ]


@pytest.mark.parametrize(
    ("condition", "code", "told"),
    [
        ("robustness[attack=pgd,epsilon=0.1].worst_case >= 0", 0, ENGINE),
        ("accuracy.clean > 1", 1, "none of 1 settings on an engine holds every condition"),
        ("accuracy.klean > 1", 2, "did you mean 'accuracy.clean'?"),
    ],
)
def test_the_smallest_engine_that_holds_is_one_command(ran: Ran, condition: str, code: int, told: str) -> None:
    found = study(ran.cwd, "mine.toml", "--best", condition)
    assert found.returncode == code
    assert told in found.stdout + found.stderr


def test_the_smallest_engine_is_looked_for_in_what_the_study_is_cut_to(ran: Ran) -> None:
    found = study(ran.cwd, "mine.toml", "--best", "accuracy.clean > 0", "--levels", "int4")
    assert found.returncode == 1
    assert "no cell was judged on an engine yet" in found.stderr


def test_a_study_that_was_not_made_has_no_best(ran: Ran) -> None:
    found = study(ran.cwd, "mine.toml", "--folder", "elsewhere", "--best", "accuracy.clean > 0")
    assert found.returncode == 2
    assert "error: no study lies in elsewhere yet: make it first" in found.stderr
    assert not (ran.cwd / "elsewhere").exists()
