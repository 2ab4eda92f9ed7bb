"""What an evaluation is called, and what it takes for an undefended model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.attacks.registry import attack, expanded
from harness.robustness.intervals import share
from harness.robustness.plan import plan
from harness.workflow.experiment import Experiment
from harness.workflow.stages.attack import _Protocol, what_runs

pytestmark = pytest.mark.core

BOTH = ("float", "twin")


@pytest.mark.parametrize(
    ("asked", "arms", "sources", "named"),
    [
        (("pgd",), ("transfer", "loop"), BOTH, "pgd"),
        (("autoattack", "pgd"), ("loop",), BOTH, "autoattack+pgd"),
        (("pgd",), ("query",), BOTH, "square+rays"),
        (("pgd",), ("noise",), BOTH, "noise"),
        (("autoattack", "noise"), ("query", "noise"), BOTH, "square+noise"),
        (("noise", "pgd"), ("transfer", "loop"), (), "noise"),
        (("square", "autoattack"), ("query",), (), "square"),
    ],
)
def test_an_evaluation_is_called_after_what_runs(
    asked: tuple[str, ...], arms: tuple[str, ...], sources: tuple[str, ...], named: str
) -> None:
    assert what_runs(asked, plan(arms, expanded(asked), lambda name: attack(name, {}), sources)) == named


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({}, 0.1),
        ({"train": {"method": "pgd"}}, None),
        ({"model": {"name": "digits-cnn", "checkpoint": "robust.safetensors"}}, None),
    ],
)
def test_only_a_model_that_was_trained_here_without_a_defence_has_none(
    settings: dict[str, Any], known: float | None
) -> None:
    attribution = SimpleNamespace(info=lambda _: [{"stage": "base", "robust": {"value": 0.1}}])
    protocol: Any = SimpleNamespace(_attribution=attribution, _experiment=Experiment.model_validate(settings))
    assert _Protocol._undefended(protocol) == known


@pytest.mark.parametrize(("quantized", "stages"), [(True, ["float", "twin", "engine"]), (False, ["float", "engine"])])
def test_no_float_engine_comes_from_the_twin(quantized: bool, stages: list[str]) -> None:
    found = {"attack": "pgd", "stages": [{"stage": "float"}, {"stage": "twin"}]}
    protocol: Any = SimpleNamespace(_attribution=SimpleNamespace(info=found.get), _quantized=lambda: quantized)
    outcome: Any = SimpleNamespace(under=lambda _: (share(np.array([True])), share(np.array([False]))))
    attributed = _Protocol._attributed(protocol, outcome)
    assert attributed is not None
    assert [stage["stage"] for stage in attributed["stages"]] == stages
