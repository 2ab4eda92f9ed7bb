from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.workflow.artifact import Artifact
from harness.workflow.stages.assemble import channel_ratio, training_signs

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


def test_sparsity_is_the_share_of_channels_that_went_whatever_was_asked_for() -> None:
    pruned = Artifact(Path("anywhere"), {"kind": "checkpoint", "info": {"sparsity": 0.5, "channel_ratio": 0.31}})
    assert channel_ratio([made("checkpoint"), pruned, made("onnx")]) == 0.31
    assert channel_ratio([made("checkpoint"), made("onnx")]) == 0.0
