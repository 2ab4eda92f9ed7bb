from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.robustness.arms import ArmOutcome
from harness.robustness.decisions import UNDECIDED
from harness.robustness.intervals import share
from harness.robustness.worst_case import NONE_WON, worst_case

pytestmark = pytest.mark.core

Z95 = 1.959963984540054


def arm(name: str, *decisions: int) -> ArmOutcome:
    return ArmOutcome(name, np.array(decisions), 0, 0.0, (), np.empty((0, 1, 1, 1), np.float32), 0)


def test_planted_outcomes_combine_to_the_worst_case() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    # Image 3 is wrong when clean, so no arm can win it; image 7 stands against both.
    clean = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    first = arm("transfer", 1, 0, 1, 1, 1, 1, UNDECIDED, 1)
    second = arm("loop", 1, 1, 0, 1, 0, 1, 1, 1)
    found = worst_case(labels, clean, [first, second])
    assert found.robust.value == 2 / 8
    assert found.robust.n == 8
    assert found.winner.tolist() == [0, 1, 0, NONE_WON, 1, NONE_WON, 0, NONE_WON]
    assert found.winner.dtype == np.int64
    assert [arm_alone.value for arm_alone in found.alone] == [4 / 8, 4 / 8]
    assert found.unique_wins == (2, 2)


def test_the_first_arm_is_the_winner_of_what_both_turned() -> None:
    labels = np.zeros(3, np.int64)
    arms = [arm("loop", 1, 0, 1), arm("transfer", 1, 1, 0)]
    assert worst_case(labels, labels, arms).winner.tolist() == [0, 1, 0]
    assert worst_case(labels, labels, arms[::-1]).winner.tolist() == [0, 0, 1]


@given(st.data(), st.integers(1, 12), st.integers(1, 4))
def test_the_worst_case_is_never_better_than_any_arm(data: st.DataObject, n: int, count: int) -> None:
    def decisions() -> list[int]:
        return data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))

    labels, clean = np.abs(np.array(decisions())), np.array(decisions())
    arms = [arm(str(number), *decisions()) for number in range(count)]
    found = worst_case(labels, clean, arms)
    assert found.robust.value <= min(arm_alone.value for arm_alone in found.alone) + 1e-12
    assert max(arm_alone.value for arm_alone in found.alone) <= (clean == labels).mean() + 1e-12
    assert sum(found.unique_wins) <= (found.winner != NONE_WON).sum()
    assert found.robust.value == pytest.approx(((clean == labels) & (found.winner == NONE_WON)).mean())


@given(st.integers(1, 5000), st.data())
def test_the_interval_is_wilson_s(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    found = share(np.arange(n) < right)
    p = right / n
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    assert (found.value, found.n) == (p, n)
    assert found.ci95 == pytest.approx((max(0.0, centre - half), min(1.0, centre + half)), abs=1e-9)
    assert 0 <= found.ci95[0] <= p <= found.ci95[1] <= 1
