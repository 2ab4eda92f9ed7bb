from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.workflow.artifact import Artifact
from harness.workflow.stages.assemble import training_signs

pytestmark = pytest.mark.core


def made(kind: str, *warnings: str) -> Artifact:
    info: dict[str, Any] = {"warnings": list(warnings)} if warnings else {}
    return Artifact(Path("anywhere"), {"kind": kind, "info": info})


def test_what_any_training_warned_of_is_in_the_result_once_and_in_order() -> None:
    """A graph's warnings are the engine's too, and are told there."""
    lineage = [
        made("checkpoint", "training: collapsed"),
        made("checkpoint", "fine-tuning after cut 1: collapsed", "training: collapsed"),
        made("onnx", "a layer stayed in float"),
        made("checkpoint"),
    ]
    assert training_signs(lineage) == ["training: collapsed", "fine-tuning after cut 1: collapsed"]
