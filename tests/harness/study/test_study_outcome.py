"""What a cell's result document says of it: latencies that are not valid are no numbers of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.files import write_json
from harness.study.folder import StudyFolder
from harness.study.outcome import joined, of_engine, of_model
from harness.workflow.artifact import Task, read_artifact, write_artifact

pytestmark = pytest.mark.core

RATE = {"value": 0.9, "n": 40, "ci95": [0.8, 0.95]}
MASKED, FLOAT, COLLAPSED = "large logits mask the gradient", "a layer runs in float", "fine-tuning: n-fgsm collapsed"
BUSY = "other programs used 26% of the CPU before the window (limit 25%): stop them and measure again"


def window(batch: int, *reasons: str) -> dict[str, Any]:
    return {"batch": batch, "p50_ms": 1.0 * batch, "p99_ms": 2.0 * batch, "valid": not reasons, "reasons": [*reasons]}


def engine(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Return the outcome of a planted result."""
    result = {
        "subject": {"backend": "openvino", "precision": "int8"},
        "accuracy": {"clean": RATE},
        "robustness": [{"attack": "pgd", "norm": "linf", "epsilon": 0.05, "worst_case": RATE, "warnings": [MASKED]}],
        "warnings": [FLOAT],
        "latency": [window(1), window(64)],
        "latency_reason": None,
        "memory": {"engine_bytes": 7, "weights_bytes": 6, "process_peak_bytes": 5},
        "device": {"valid": True, "reasons": []},
        **changes,
    }
    (tmp_path / "results").mkdir()
    write_json(tmp_path / "results" / "result.json", result)
    return of_engine({"paper": tmp_path / "results"}, StudyFolder(tmp_path))


def latencies(found: dict[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in found["quantities"].items() if name.startswith("latency")}


def test_valid_latencies_are_taken_and_nothing_is_doubted(tmp_path: Path) -> None:
    found = engine(tmp_path)
    assert latencies(found) == {
        "latency[batch=1].p50_ms": 1.0,
        "latency[batch=1].p99_ms": 2.0,
        "latency[batch=64].p50_ms": 64.0,
        "latency[batch=64].p99_ms": 128.0,
    }
    assert found["doubts"] == []
    assert found["quantities"]["memory.engine_bytes"] == 7


def test_a_window_that_is_not_valid_gives_no_latency_but_its_reason(tmp_path: Path) -> None:
    found = engine(tmp_path, latency=[window(1), window(64, BUSY)])
    assert latencies(found)["latency[batch=1].p99_ms"] == 2.0
    assert latencies(found)["latency[batch=64].p50_ms"] is latencies(found)["latency[batch=64].p99_ms"] is None
    assert found["doubts"] == [BUSY]


@pytest.mark.parametrize(("reasons", "told"), [([BUSY], BUSY), ([], "the state of the device is not valid")])
def test_no_latency_counts_on_a_device_whose_state_is_not_valid(tmp_path: Path, reasons: list[str], told: str) -> None:
    found = engine(tmp_path, device={"valid": False, "reasons": reasons})
    assert set(latencies(found).values()) == {None}
    assert found["doubts"] == [told]
    assert found["quantities"]["memory.engine_bytes"] == 7


def test_what_could_not_be_measured_at_all_is_doubted(tmp_path: Path) -> None:
    found = engine(tmp_path, latency=[], latency_reason="the engine did not start")
    assert latencies(found) == {} and found["doubts"] == ["the engine did not start"]


def test_what_model_engine_and_attack_warn_of_is_said_once(tmp_path: Path) -> None:
    found = joined({"macs": 3, "warnings": [COLLAPSED, FLOAT]}, engine(tmp_path))
    assert found["warnings"] == [COLLAPSED, FLOAT, MASKED]
    assert found["macs"] == 3


def checkpoint(folder: Path, name: str, parents: tuple[Task, ...], **info: Any) -> Task:
    task = Task("finetune", f"checkpoints/{name}", "checkpoint", {}, lambda *_: info, parents)
    made = tuple(artifact for each in parents if (artifact := read_artifact(folder / each.path)))
    write_artifact(task, folder / task.path, made, {"created": f"2026-01-0{len(list(folder.rglob('m*.json'))) + 1}"})
    return task


def test_the_warnings_of_every_training_reach_the_cell_the_base_model_s_first(tmp_path: Path) -> None:
    train, cell = tmp_path / "base", tmp_path / "cell"
    base = checkpoint(train, "base", (), warnings=["training collapsed"])
    given = checkpoint(cell, "base", ())
    pruned = checkpoint(cell, "pruned", (given,), warnings=["fine-tuning between steps collapsed"])
    tuned = checkpoint(cell, "finetuned", (pruned,), warnings=["fine-tuning collapsed"])
    final = checkpoint(cell, "final", (tuned,), parameters=7, macs=9)
    checkpoint(cell, "stray", (), warnings=["of something else"])
    artifacts = [read_artifact(train / base.path), read_artifact(cell / final.path)]
    assert artifacts[0] is not None and artifacts[1] is not None
    model = of_model(artifacts[0], artifacts[1], cell)
    assert model["warnings"] == ["training collapsed", "fine-tuning between steps collapsed", "fine-tuning collapsed"]
    assert (model["parameters"], model["finetune_passes"]) == (7, None)
