"""What a second run does with a finished cell: what it leaves, what it adds, and what a failure costs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from contracts.files import write_json
from harness.progress import Silent
from harness.study import running
from harness.study.cell import POST_TRAINING, Cell
from harness.study.features import FILE, are_current, write_embedding
from harness.study.folder import StudyFolder
from harness.study.plan import read_plan
from harness.study.running import Study
from harness.workflow.artifact import Artifact
from harness.workflow.journey import Journey
from harness.workflow.run_folder import locked
from harness.workflow.saved_models import WEIGHTS
from tests.harness.study.test_plan import written

CELL = Cell(base="robust")
BUSY = "other programs used 26% of the CPU"


class Planted(Study):
    """A study whose base models and cells are made of nothing, so that what is kept can be seen at once."""

    made: list[str]
    base_weights: bytes | None = b"weights"
    found: Callable[[], dict[str, Any]]

    def _base(self, name: str, seed: int) -> Artifact:
        with self._opened(self.folder.base(name, seed), {"model": {"name": "digits-cnn"}}):
            if self.base_weights is None:
                raise OSError("No space left on device")
        (self.folder.base(name, seed) / WEIGHTS).write_bytes(self.base_weights)
        return Artifact(self.folder.base(name, seed), {"info": {}})

    def _made(self, cell: Cell, *_: Any) -> dict[str, Any]:
        self.made.append(cell.name)
        return self.found()


@pytest.fixture
def study(tmp_path: Path) -> Planted:
    made = Planted(
        read_plan(written(tmp_path)), StudyFolder(tmp_path / "study"), None, Silent(), said.append, "", lambda: None
    )
    said.clear()
    made.made, made.found = [], dict
    return made


said: list[str] = []


def test_what_is_finished_is_left_until_its_settings_or_its_base_change(study: Planted, tmp_path: Path) -> None:
    assert study.run([CELL]) == [] == study.run([CELL])
    assert study.made == [CELL.name]
    study.base_weights = b"others"
    study.run([CELL])
    study.plan = read_plan(written(tmp_path, settings={"measure": {"batch": [1]}}))
    study.run([CELL])
    assert study.made == [CELL.name] * 3


def test_latencies_that_are_not_valid_are_measured_again_once_a_run_until_they_are(study: Planted) -> None:
    study.found = lambda: {"doubts": [BUSY] if len(study.made) < 3 else []}
    for times in (1, 2, 3, 3):
        assert study.run([CELL]) == []
        assert len(study.made) == times
    assert said[1].endswith("(1 of 1): its latencies are measured again")


def test_a_base_model_that_cannot_be_had_costs_a_finished_cell_nothing_and_is_a_failure(study: Planted) -> None:
    study.run([CELL])
    card = study.folder.card(CELL.name)
    with locked(study.folder.base("robust", 0)):
        (told,) = study.run([CELL])
    assert told.startswith(f"{CELL.name}: another harness is at work in")
    study.base_weights = None
    (told,) = study.run([CELL])
    assert "No space left on device" in told and told in said[-1].replace(" failed", "")
    assert study.folder.card(CELL.name) == card


def test_a_cell_that_was_never_finished_says_why_it_failed(study: Planted) -> None:
    study.base_weights = None
    assert len(study.run([CELL])) == 1
    card = study.folder.card(CELL.name)
    assert card is not None and card["state"] == "failed" and card["made_from"]["base"] is None


@pytest.mark.parametrize(
    ("changes", "state"), [({}, "finished"), ({"settings": {"measure": {"batch": [1]}}}, "failed")]
)
def test_measuring_again_in_vain_keeps_the_cell_and_making_it_anew_does_not(
    study: Planted, tmp_path: Path, changes: dict[str, Any], state: str
) -> None:
    study.found = lambda: {"doubts": [BUSY]}
    study.run([CELL])

    def fails() -> dict[str, Any]:
        raise InputError("the engine is gone")

    study.found, study.plan = fails, read_plan(written(tmp_path, **changes))
    assert study.run([CELL]) == [f"{CELL.name}: the engine is gone"]
    card = study.folder.card(CELL.name)
    assert card is not None and card["state"] == state


@pytest.mark.parametrize(
    ("cell", "on"), [(CELL, False), (Cell(base="robust", bits=4, quantization=POST_TRAINING), True)]
)
def test_features_of_what_is_not_quantized_are_taken_without_quantizers(
    study: Planted, monkeypatch: pytest.MonkeyPatch, cell: Cell, on: bool
) -> None:
    class Twin:
        def quantize(self, on: bool) -> bool:
            return on

    taken: list[Any] = []
    monkeypatch.setattr(running, "load_twin", lambda *_: Twin())
    monkeypatch.setattr(running, "keep_features", lambda twin, *_: taken.append(twin))
    study.plan = study.plan.model_copy(update={"features": (cell.name,)})
    context: Any = SimpleNamespace(data=SimpleNamespace(test=None, class_names=()))
    study._keep_features(cell, context, Artifact(study.folder.path, {}))
    assert taken == [on]


def test_features_are_of_the_final_checkpoint_that_lies_there(tmp_path: Path) -> None:
    made = datetime.now(timezone.utc) - timedelta(hours=1)
    final = Artifact(tmp_path, {"created": made.isoformat()})
    assert not are_current(tmp_path, None)
    (tmp_path / FILE).touch()
    assert are_current(tmp_path, None) and are_current(tmp_path, final)
    os.utime(tmp_path / FILE, (0.0, made.timestamp() - 1))
    assert not are_current(tmp_path, final)


def test_the_embedding_is_of_the_cells_that_are_asked_for_today(tmp_path: Path) -> None:
    folder, path = StudyFolder(tmp_path), tmp_path / "features.json"
    draws = np.random.default_rng(0)
    for name in ("a", "b"):
        folder.cell(name).mkdir(parents=True)
        features, labels = draws.normal(size=(12, 4)).astype("f4"), np.arange(12) % 2
        np.savez_compressed(
            folder.cell(name) / FILE, features=features, labels=labels, class_names=np.array(["x", "y"])
        )

    def titles() -> list[str]:
        return [panel["title"] for panel in json.loads(path.read_text())["panels"]]

    write_embedding(folder, ["a", "b"], path)
    assert titles() == ["a", "b"]
    write_embedding(folder, ["b"], path)
    assert titles() == ["b"]
    write_json(path, {"panels": [{"title": "b"}]})
    write_embedding(folder, ["b", "no features"], path)
    assert "classes" not in json.loads(path.read_text())["panels"][0], "what is up to date is not embedded again"
    write_embedding(folder, [], path)
    assert not path.exists()


def test_a_base_model_that_cannot_be_trained_is_tried_once(
    study: Planted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried = []

    def diverges(journey: Journey, stage: str) -> Artifact:
        tried.append(stage)
        raise InputError("training: the loss became nan")

    monkeypatch.setattr(Journey, "made_of", diverges)
    for _ in range(2):
        with pytest.raises(InputError, match="the loss became nan"):
            Study._base(study, "robust", 0)
    assert tried == ["train"]
