"""From arms to one number, and to the smallest change; laws beside planted outcomes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.dataset import Labels
from harness.robustness.decisions import UNDECIDED
from harness.robustness.intervals import share
from harness.robustness.worst_case import NONE_WON, minimal_norm, worst_case

pytestmark = pytest.mark.core

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Arm:
    """An outcome, as far as it is counted."""

    decisions: Labels
    distances: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))


def arm(*decisions: int) -> Arm:
    return Arm(np.array(decisions))


def at(*distances: float) -> Arm:
    return Arm(np.zeros(len(distances), np.int64), np.array(distances, np.float32))


def test_planted_outcomes_combine_to_the_worst_case() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    # Image 3 is wrong when clean, so no arm can win it; image 7 stands against both.
    clean = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    first = arm(1, 0, 1, 1, 1, 1, UNDECIDED, 1)
    second = arm(1, 1, 0, 1, 0, 1, 1, 1)
    found = worst_case(labels, clean, [first, second])
    assert found.robust.value == 2 / 8
    assert found.robust.n == 8
    assert found.winner.tolist() == [0, 1, 0, NONE_WON, 1, NONE_WON, 0, NONE_WON]
    assert found.winner.dtype == np.int64
    assert [arm_alone.value for arm_alone in found.alone] == [4 / 8, 4 / 8]
    assert found.unique_wins == (2, 2)


def test_the_first_arm_is_the_winner_of_what_both_turned() -> None:
    labels = np.zeros(3, np.int64)
    arms = [arm(1, 0, 1), arm(1, 1, 0)]
    assert worst_case(labels, labels, arms).winner.tolist() == [0, 1, 0]
    assert worst_case(labels, labels, arms[::-1]).winner.tolist() == [0, 0, 1]


@given(st.data(), st.integers(1, 12), st.integers(1, 4))
def test_the_worst_case_is_never_better_than_any_arm(data: st.DataObject, n: int, count: int) -> None:
    def decisions() -> list[int]:
        return data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))

    labels, clean = np.abs(np.array(decisions())), np.array(decisions())
    arms = [arm(*decisions()) for _ in range(count)]
    found = worst_case(labels, clean, arms)
    assert found.robust.value <= min(arm_alone.value for arm_alone in found.alone) + 1e-12
    assert max(arm_alone.value for arm_alone in found.alone) <= (clean == labels).mean() + 1e-12
    assert sum(found.unique_wins) <= (found.winner != NONE_WON).sum()
    assert found.robust.value == pytest.approx(((clean == labels) & (found.winner == NONE_WON)).mean())
    # What an arm wins alone is what is lost without it.
    for place, wins in enumerate(found.unique_wins):
        others = arms[:place] + arms[place + 1 :]
        without = worst_case(labels, clean, others).robust.value if others else (clean == labels).mean()
        assert without - found.robust.value == pytest.approx(wins / n)
    assert worst_case(labels, clean, arms[::-1]).robust == found.robust


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


RIGHT = np.zeros(4, np.int64)


def test_the_smallest_change_is_any_arms_and_the_median_of_what_was_right() -> None:
    clean = np.array([0, 0, 0, 1])
    found = minimal_norm(RIGHT, clean, [at(0.3, 0.2, math.inf, 0.0), at(0.1, 0.4, 0.5, 0.0)])
    assert found.median == pytest.approx(0.2)
    assert (found.n, found.turned, found.reason) == (3, 3, None)


def test_the_median_is_known_as_soon_as_more_than_half_was_turned() -> None:
    found = minimal_norm(RIGHT[:3], RIGHT[:3], [at(0.3, 0.2, math.inf)])
    assert found.median == pytest.approx(0.3)
    assert found.turned == 2


def test_too_few_turned_images_leave_no_median_and_a_reason() -> None:
    found = minimal_norm(RIGHT, RIGHT, [at(0.3, 0.2, math.inf, math.inf)])
    assert (found.median, found.n, found.turned) == (None, 4, 2)
    assert found.reason == "2 of 4 images were never turned, so the median is unknown"
    found = minimal_norm(RIGHT, RIGHT + 1, [at(0.0, 0.0, 0.0, 0.0)])
    assert (found.median, found.n, found.turned) == (None, 0, 0)
    assert found.reason == "the engine gets no image right when clean"


def test_what_another_attack_happened_to_need_is_no_smallest_change() -> None:
    arms = [at(0.1, 0.1, 0.3, 0.4)]
    few = minimal_norm(RIGHT, RIGHT, arms, np.array([False, True, True, True]))
    assert (few.median, few.n, few.turned) == (None, 4, 4)
    assert "1 of 4 images" in str(few.reason)
    assert "at most 0.2" in str(few.reason)
    # Below the middle it does not matter how much smaller it could have been.
    arms = [at(0.1, 0.2, 0.3, 0.4)]
    assert minimal_norm(RIGHT, RIGHT, arms, np.array([False, True, True, True])).median == pytest.approx(0.25)
    wrong = np.array([1, 0, 0, 0])
    assert minimal_norm(RIGHT, wrong, arms, np.array([False, True, True, True])).median == pytest.approx(0.3)


@given(st.data(), st.integers(1, 9), st.integers(1, 3))
def test_the_smallest_change_is_a_median_and_more_arms_never_raise_it(data: st.DataObject, n: int, count: int) -> None:
    a_distance = st.one_of(st.floats(0, 1, width=32), st.just(math.inf))
    arms = [at(*data.draw(st.lists(a_distance, min_size=n, max_size=n))) for _ in range(count)]
    clean = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    found = minimal_norm(np.zeros(n, np.int64), clean, arms)
    smallest = sorted(min(float(each.distances[row]) for each in arms) for row in np.flatnonzero(clean == 0))
    assert found.n == len(smallest)
    assert found.turned == sum(math.isfinite(distance) for distance in smallest)
    assert (found.median is None) == (found.reason is not None) == (2 * found.turned <= found.n)
    if found.median is not None:
        middle = (smallest[(found.n - 1) // 2] + smallest[found.n // 2]) / 2
        assert found.median == pytest.approx(middle, abs=1e-6)
        fewer = minimal_norm(np.zeros(n, np.int64), clean, arms[:1])
        assert fewer.median is None or found.median <= fewer.median
