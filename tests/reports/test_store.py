from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from reports.document import ResultDocument
from reports.store import StoredResult, latest, read_results

pytestmark = pytest.mark.core

FIXTURE = Path(__file__).parent / "data" / "result-v1"
Build = Callable[..., ResultDocument]
Store = Callable[[Path, ResultDocument], StoredResult]


def fixture_workspace(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "results" / "cpu" / "old")
    return tmp_path


def test_a_stored_result_of_schema_version_1_stays_readable(tmp_path: Path) -> None:
    (result,) = read_results(fixture_workspace(tmp_path))
    assert result.document.accuracy.clean is not None
    assert result.document.accuracy.clean.value == 0.9722
    assert result.document.latency[1].p99_ms is None
    latencies = result.latencies()
    assert list(latencies) == [1, 64]
    assert latencies[64].shape == (80,)
    assert latencies[64].dtype == np.float64
    images = result.images()
    assert images is not None
    assert images.clean.shape == images.adversarial.shape == (4, 1, 8, 8)
    assert images.class_names[3] == "digit 3"
    assert result.outcomes()["clean_decisions"].shape == (360,)


def test_results_come_oldest_first_and_naive_times_count_as_utc(tmp_path: Path, sample: Build, store: Store) -> None:
    for name, created in (
        ("b", "2026-01-02T00:00:00+00:00"),
        ("c", "2026-01-03T00:00:00"),
        ("a", "2026-01-02T00:30:00+01:00"),
    ):
        store(tmp_path, sample(id=name, created=datetime.fromisoformat(created)))
    assert [result.document.id for result in read_results(tmp_path)] == ["a", "b", "c"]


def test_latest_keeps_the_newest_of_each_engine_whatever_the_order(sample: Build, tmp_path: Path) -> None:
    documents = [
        sample("int8", id="new", created="2026-02-02T00:00:00Z"),
        sample("int8", id="old", created="2026-02-01T00:00:00Z"),
        sample("int8", id="board", device_id="jetson", created="2026-01-01T00:00:00Z"),
        sample("fp32", id="wide", created="2026-02-03T00:00:00Z"),
    ]
    kept = latest(StoredResult(tmp_path, document) for document in documents)
    assert [result.document.id for result in kept] == ["wide", "new", "board"]


def test_arrays_are_optional(tmp_path: Path) -> None:
    workspace = fixture_workspace(tmp_path)
    for path in workspace.glob("results/*/*/*.npz"):
        path.unlink()
    (result,) = read_results(workspace)
    assert result.latencies() == {}
    assert result.outcomes() == {}
    assert result.images() is None


@pytest.mark.parametrize(
    "prepare", [lambda path: None, lambda path: (path / "results/cpu/unfinished").mkdir(parents=True)]
)
def test_a_workspace_without_results_says_what_makes_them(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(tmp_path)
    with pytest.raises(InputError) as raised:
        read_results(tmp_path)
    assert (
        str(raised.value) == f"no results in {tmp_path}: `harness run`, `harness eval` and `harness measure` make them"
    )


def truncated(text: str) -> str:
    return text[: len(text) // 2]


def foreign(text: str) -> str:
    return json.dumps({"accuracy": 0.9})


def newer(text: str) -> str:
    return json.dumps({**json.loads(text), "schema_version": 2})


def impossible(text: str) -> str:
    return text.replace('"value": 0.9722', '"value": 9722')


def not_a_number(text: str) -> str:
    return text.replace('"mean_ms": 0.223', '"mean_ms": NaN')


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncated, "not whole JSON"),
        (foreign, "has no schema_version"),
        (newer, "pip install -U edge-robustness-harness"),
        (impossible, "accuracy.clean.value"),
        (not_a_number, "latency.0.mean_ms"),
    ],
)
def test_a_damaged_document_is_named_in_one_sentence(tmp_path: Path, damage: Callable[[str], str], says: str) -> None:
    path = fixture_workspace(tmp_path) / "results/cpu/old/result.json"
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    with pytest.raises(InputError) as raised:
        read_results(tmp_path)
    assert str(path) in str(raised.value)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["latencies", "outcomes", "images"])
@pytest.mark.parametrize("content", ["truncated", "text", "pickle", "npy", "foreign"])
def test_damaged_arrays_are_named_when_they_are_asked_for(tmp_path: Path, name: str, content: str) -> None:
    path = fixture_workspace(tmp_path) / "results/cpu/old" / f"{name}.npz"
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "text":
        path.write_text("these are no arrays")
    elif content == "pickle":
        np.savez(path, batch_1=np.array([print], dtype=object))
    elif content == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    else:
        np.savez(path, unheard_of=np.zeros(3))
    (result,) = read_results(tmp_path)
    with pytest.raises(InputError) as raised:
        getattr(result, name)()
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        {"adversarial": np.zeros((4, 3, 8, 8), np.float32)},
        {"clean": np.full((4, 1, 8, 8), np.nan, np.float32)},
        {"clean": np.zeros((4, 1, 8, 8), np.uint8)},
        {"labels": np.zeros(3, np.int64)},
        {"adversarial_decisions": np.zeros(4)},
    ],
)
def test_images_that_do_not_fit_together_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = fixture_workspace(tmp_path) / "results/cpu/old/images.npz"
    with np.load(path) as archive:
        arrays: dict[str, Any] = dict(archive)
    np.savez(path, **{**arrays, **change})
    (result,) = read_results(tmp_path)
    with pytest.raises(InputError, match=r"images\.npz is damaged"):
        result.images()
