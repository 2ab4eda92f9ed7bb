"""What the document tells of the arms' outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.attacks.attack import Attack, BlackBox
from harness.attacks.black_box.square import Square
from harness.attacks.fab import FABT
from harness.attacks.pgd import PGD
from harness.robustness.arms import Step
from harness.robustness.outcome import Outcome
from harness.robustness.plan import Plan
from harness.robustness.protocol import ArmOutcome, StepOutcome

from .tiny_engines import grey

pytestmark = pytest.mark.core

SPLIT = grey([0.6, 0.7, 0.8, 0.9])


def step(arm: str, attack: Attack | BlackBox, attacked: int, turned: Sequence[int]) -> StepOutcome:
    source = "twin" if attack.needs_gradient else None
    rows = np.array(turned, np.int64)
    return StepOutcome(Step(arm, attack, source), attacked, rows, 10, 0, 0.1, rows, SPLIT.images[rows])


def outcome(distances: Sequence[float], *steps: StepOutcome) -> Outcome:
    decisions = SPLIT.labels.copy()
    for each in steps:
        decisions[each.turned] = 0
    arm = ArmOutcome("loop", decisions, np.array(distances, np.float32), steps)
    return Outcome(SPLIT, SPLIT.labels, Plan(tuple(each.step for each in steps), {}), (arm,))


def test_a_smallest_change_is_told_where_an_attack_looked_for_it() -> None:
    distances = (0.1, 0.1, 0.3, 0.4)
    assert outcome(distances, step("loop", PGD(), 4, [0, 1])).to_json()["minimal_norm"] is None
    first = outcome(distances, step("loop", FABT(), 4, [0, 1]), step("loop", PGD(), 2, [])).to_json()["minimal_norm"]
    assert first["median"] == pytest.approx(0.2)
    # What fell to PGD did so at the ball's surface, wherever its smallest change is.
    after = outcome(distances, step("loop", PGD(), 4, [0, 1]), step("loop", FABT(), 2, [])).to_json()["minimal_norm"]
    assert (after["median"], after["n"], after["turned"]) == (None, 4, 4)
    assert "2 of 4 images were turned by attacks that do not look for the smallest change" in after["reason"]


def test_an_attack_that_no_arm_ran_tells_nothing_of_the_engine() -> None:
    found = outcome((0.1, 0.1, 0.3, 0.4), step("query", Square(), 4, [0, 1]))
    assert found.under("pgd") is None
    told = found.under("square")
    assert told is not None
    assert (told[0].value, told[1].value) == (1.0, 0.5)
