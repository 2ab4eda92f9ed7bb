from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.compression.pruning import Target
from harness.progress import Silent
from harness.workflow.context import Context
from harness.workflow.pruning_target import QUANTITIES, Goal, latency_settings
from harness.workflow.settings import check

pytestmark = pytest.mark.core

RECORDED: dict[str, Any] = {
    "build": {"backend": ["openvino", "onnxruntime"], "precision": ["fp32", "int8"]},
    "measure": {"batch": [8, 1], "profile": "ci", "threads": 1},
}


def context(aside: Any = None, **sections: Any) -> Context:
    recorded = check({**RECORDED, **sections}, "here")
    asked = check({**RECORDED, **(aside or {})}, "here") if aside else recorded
    return Context("digits", asked, Path("runs/digits"), None, Silent(), "harness measure", recorded)


def test_every_target_but_the_channels_has_a_quantity() -> None:
    assert set(QUANTITIES) == set(get_args(Target)) - {"channels"}


def test_options_of_one_command_do_not_prune_anew() -> None:
    aside = {"measure": {"batch": 64, "profile": "quick"}, "build": {"backend": "onnxruntime", "precision": "int8"}}
    assert latency_settings(context(aside)) == latency_settings(context())


@pytest.mark.parametrize(
    ("sections", "decides"),
    [
        ({"measure": {**RECORDED["measure"], "batch": [8, 64]}}, False),
        ({"build": {**RECORDED["build"], "precision": ["fp32", "fp16"]}}, False),
        ({"build": {**RECORDED["build"], "backend": ["openvino"]}}, False),
        ({"measure": {**RECORDED["measure"], "batch": [1, 8]}}, True),
        ({"measure": {**RECORDED["measure"], "threads": 2}}, True),
        ({"measure": {**RECORDED["measure"], "profile": "quick"}}, True),
        ({"build": {**RECORDED["build"], "precision": ["int8", "fp32"]}}, True),
        ({"build": {**RECORDED["build"], "backend": ["onnxruntime", "openvino"]}}, True),
    ],
)
def test_what_decides_the_latency_and_nothing_else(sections: Any, decides: bool) -> None:
    assert (latency_settings(context(**sections)) != latency_settings(context())) is decides


def test_only_the_options_of_the_backend_that_is_measured_decide() -> None:
    def found(backend: str) -> Any:
        return latency_settings(context(build={"backend": backend, "tensorrt": {"optimization_level": 1}}))["options"]

    assert found("openvino") == {}
    assert found("tensorrt") == {"optimization_level": 1}
    assert found("auto") == {"tensorrt": {"optimization_level": 1}}, "it may be taken"


def test_a_doubtful_or_missed_target_is_warned_of() -> None:
    goal = Goal("latency", 4.0, 2.0, lambda _: 2.5, ["the cores were busy", "the cores were busy"])
    model: Any = None
    outcome = goal.outcome(model, 0.4)
    assert outcome["target"] == {
        "target": "latency",
        "before": 4.0,
        "wanted": 2.0,
        "reached": 2.5,
        "channel_ratio": 0.4,
        "doubts": ["the cores were busy"],
    }
    assert outcome["told"] == ["latency: 4.000 ms before, at most 2.000 ms wanted, 2.500 ms reached"]
    assert outcome["warnings"] == [
        "the latency that was pruned for is doubtful: the cores were busy",
        "latency: at most 2.000 ms was wanted, and 2.500 ms is left",
    ]
    assert replace(goal, wanted=3.0, doubts=[]).outcome(model, 0.4)["warnings"] == []
