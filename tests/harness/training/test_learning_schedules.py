from __future__ import annotations

import math

import pytest

pytest.importorskip("torch")

import torch

from harness.training.recipe import SCHEDULES, Schedule
from harness.training.schedule import schedule


def rates(name: Schedule, steps: int) -> list[float]:
    """Return the learning rate of every step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.4, momentum=0.9)
    way = schedule(name, optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        way.step()
    return found


def test_one_cycle_rises_over_a_fifth_and_falls_to_nothing() -> None:
    found = rates("one-cycle", 100)
    assert found.index(max(found)) == 19
    assert max(found) == pytest.approx(0.4)
    assert found[0] == pytest.approx(0.4 / 25)
    assert found[:20] == sorted(found[:20])
    assert found[19:] == sorted(found[19:], reverse=True)
    assert found[-1] < 1e-4


def test_a_cosine_falls_along_half_a_wave() -> None:
    expected = [0.2 * (1 + math.cos(math.pi * step / 50)) for step in range(50)]
    assert rates("cosine", 50) == pytest.approx(expected)


def test_steps_fall_to_a_tenth_at_half_and_at_three_quarters() -> None:
    assert rates("step", 8) == pytest.approx([0.4] * 4 + [0.04] * 2 + [0.004] * 2)


def test_a_constant_stays() -> None:
    assert rates("constant", 7) == [0.4] * 7


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", range(1, 9))
def test_any_number_of_steps_can_be_planned(name: Schedule, steps: int) -> None:
    found = rates(name, steps)
    assert len(found) == steps
    assert all(0.0 < rate <= 0.4 for rate in found[:-1])
