"""Comparing an engine with another one, from the command to the result: a real engine, windows shortened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.workflow.stages import against

from .conftest import Invoke
from .processes import Ended
from .test_bad_input import sentence
from .test_endings import STORED

pytestmark = pytest.mark.core


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """Return a run folder with a built engine and nothing that it was made from."""
    return Path(shutil.copytree(STORED, tmp_path / "digits", ignore=shutil.ignore_patterns("expected.npz")))


@pytest.fixture
def shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "WINDOW_S", 0.02)


def compared(invoke: Invoke, board: Path, other: str) -> Ended:
    command = ("measure", "--workspace", str(board), "--precision", "int8", "--batch", "1", "--pairs", "20", "--json")
    return invoke(*command, "--against", other)


def test_an_engine_is_compared_with_another_folders(
    invoke: Invoke, board: Path, tmp_path: Path, shortened: None
) -> None:
    other = tmp_path / "other engine"
    shutil.copytree(board / "engines/openvino-int8", other)
    ended = compared(invoke, board, str(other))
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    (entry,) = document["against"]
    assert (entry["backend"], entry["precision"], entry["batch"], entry["window_s"]) == ("openvino", "int8", 1, 0.02)
    assert entry["pairs"] + entry["left_out"] == 20
    assert entry["verdict"] in {"faster", "slower", "inconclusive"}
    (medians,) = board.glob("fragments/*/against-*/against.npz")
    ours, theirs, counted = np.load(medians)["batch_1"]
    assert (ours > 0).all() and (theirs > 0).all() and counted.sum() == entry["pairs"]
    again = json.loads(compared(invoke, board, "openvino-int8").out)[0]  # the same engine: it is known
    assert again["against"] == document["against"]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("openvino-int9", "did you mean 'openvino-int8'"),
        ("{empty}", "is no engine's folder and no run folder"),
        ("nonsense", "unknown engine 'nonsense'"),
    ],
)
def test_an_engine_that_is_not_there_is_said_with_those_that_are(
    invoke: Invoke, board: Path, tmp_path: Path, other: str, reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert reason in sentence(compared(invoke, board, other.format(empty=tmp_path / "empty")))
