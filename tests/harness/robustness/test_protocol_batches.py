"""How images are batched changes nothing, however often an arm's images thin out."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.attacks.ball import Norm
from harness.attacks.registry import attack, expanded
from harness.progress import Silent
from harness.robustness.arms import ARMS
from harness.robustness.journal import Journal
from harness.robustness.plan import plan
from harness.robustness.protocol import ArmOutcome, run

from . import tiny_models
from .tiny_engines import engaged

SETTINGS = {
    "pgd": {"steps": 6, "restarts": 2, "random_start": True},
    "apgd-ce": {"steps": 6},
    "apgd-t": {"steps": 4, "targets": 2},
    "fab-t": {"steps": 4, "targets": 2},
    "square": {"queries": 15},
    "rays": {"queries": 25},
    "noise": {"draws": 3},
}
NAMES = ("pgd", "autoattack", "noise")
SPLIT = tiny_models.split_of(23)
STEPS = plan(ARMS, expanded(NAMES), lambda name: attack(name, SETTINGS.get(name, {})), ("float", "twin")).steps


@cache
def outcome(norm: Norm, batch: int) -> tuple[ArmOutcome, ...]:
    epsilon = 0.03 if norm == "linf" else 0.08
    engagement = engaged(tiny_models.engine, SPLIT, tiny_models.sources(), norm=norm, epsilon=epsilon, batch=batch)
    return run(engagement, STEPS, Journal(None), Silent(), "a test")


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_attacks_are_worth_the_test(norm: Norm) -> None:
    arms = outcome(norm, 23)
    assert tuple(arm.name for arm in arms) == ARMS
    assert len(STEPS) == 3 + 3 + 4 + 2 + 1
    standing = [(arm.decisions == SPLIT.labels).sum() for arm in arms]
    assert all(3 < left < 19 for left in standing[:2]), "some fall and some stand"
    assert [arm.wavering for arm in arms] == [0] * 4, "every attack returns what it saw fool the engine"


@settings(max_examples=5)
@given(batch=st.integers(1, 22), norm=st.sampled_from(["linf", "l2"]))
def test_outcomes_do_not_depend_on_the_batch(batch: int, norm: Norm) -> None:
    for found, wanted in zip(outcome(norm, batch), outcome(norm, 23), strict=True):
        assert found.decisions.tolist() == wanted.decisions.tolist()
        assert found.distances.tolist() == wanted.distances.tolist()
        assert (found.queries, found.wavering) == (wanted.queries, wanted.wavering)
        for step, alike in zip(found.steps, wanted.steps, strict=True):
            assert step.turned.tolist() == alike.turned.tolist()
            assert step.shown.tolist() == alike.shown.tolist()
            assert np.array_equal(step.adversarial, alike.adversarial)
