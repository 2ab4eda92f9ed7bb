from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.attacks.step_sizes import StepSizes, checkpoints


def sizes_of(*starts: float, rho: float = 0.75) -> StepSizes:
    sizes = StepSizes(len(starts), 0.2, rho, device=torch.device("cpu"))
    sizes.observe(torch.tensor(starts))
    return sizes


def climb(sizes: StepSizes, *losses: list[float]) -> None:
    for at_step in zip(*losses, strict=True):
        sizes.observe(torch.tensor(at_step))


def test_the_published_checkpoints() -> None:
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)


@given(steps=st.integers(1, 2000))
def test_checkpoints_come_ever_faster_and_not_after_the_last_step(steps: int) -> None:
    found = checkpoints(steps)
    intervals = [after - before for before, after in pairwise((0, *found))]
    assert found[-1] <= steps
    assert intervals[0] == max(int(0.22 * steps), 1)
    assert min(intervals) >= max(int(0.06 * steps), 1)
    assert all(after <= before for before, after in pairwise(intervals))


def test_a_size_is_halved_where_fewer_than_three_in_four_steps_raised_the_loss() -> None:
    sizes = sizes_of(0.0, 0.0, 0.0)
    climb(sizes, [1, 2, 3, 4], [1, 2, 3, 2], [1, 2, 1, 0])
    assert sizes.halve().tolist() == [False, False, True]
    torch.testing.assert_close(sizes.sizes, torch.tensor([0.2, 0.2, 0.1]))
    assert sizes.best.tolist() == [4.0, 3.0, 2.0]


def test_the_first_step_is_compared_with_the_start() -> None:
    sizes = sizes_of(-2.0, 2.0)
    climb(sizes, [-1, -0.5], [1, 1.5])
    assert sizes.halve().tolist() == [False, True]


def test_a_step_counts_that_beats_the_one_before_but_not_the_best() -> None:
    sizes = sizes_of(9.0)
    climb(sizes, [9.5, 9.6])
    sizes.halve()
    climb(sizes, [3, 4, 5, 9.7])
    assert not sizes.halve().any()


def test_a_best_loss_that_stands_still_halves_unless_the_last_checkpoint_did() -> None:
    sizes = sizes_of(0.0)
    climb(sizes, [1, 2, 3, 4])
    assert not sizes.halve().any()
    climb(sizes, [1, 2, 3, 4])  # three of four rise; the best stays 4
    assert sizes.halve().all()
    climb(sizes, [1, 2, 3, 4])  # the same again, but the size was just halved
    assert not sizes.halve().any()
    climb(sizes, [1, 2, 3, 4])
    assert sizes.halve().all()
    torch.testing.assert_close(sizes.sizes, torch.tensor([0.05]))


def test_at_the_first_checkpoint_standing_still_is_allowed() -> None:
    sizes = sizes_of(9.0)
    climb(sizes, [1, 2, 3, 4])
    assert not sizes.halve().any()


def test_after_a_halving_the_next_loss_is_compared_with_the_best_point_s() -> None:
    sizes = sizes_of(0.0, 0.0)
    climb(sizes, [5, 1], [5, 1])
    assert sizes.halve().all()
    climb(sizes, [3], [6])  # both are above 1, the loss of the step before
    assert sizes.halve().tolist() == [True, False]


def test_observing_says_which_losses_are_the_largest_so_far() -> None:
    sizes = StepSizes(3, 0.2, 0.75, device=torch.device("cpu"))
    assert sizes.observe(torch.tensor([0.0, 1.0, -5.0])).all(), "the start is the best at first"
    assert sizes.observe(torch.tensor([1.0, 1.0, -6.0])).tolist() == [True, False, False]


def test_images_that_leave_take_their_state_along() -> None:
    losses = ([1.0, 2, 3, 4], [1.0, 2, 1, 0], [3.0, 2, 1, 0])
    all_three, two = sizes_of(0.0, 0.0, 0.0), sizes_of(0.0, 0.0, 0.0)
    climb(all_three, *losses)
    climb(two, *(row[:2] for row in losses))
    two.keep(torch.tensor([True, False, True]))
    climb(two, losses[0][2:], losses[2][2:])
    assert two.halve().tolist() == all_three.halve()[[0, 2]].tolist()
    assert torch.equal(two.sizes, all_three.sizes[[0, 2]])
    assert torch.equal(two.best, all_three.best[[0, 2]])
