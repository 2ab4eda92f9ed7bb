from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.attacks.ball import NORMS, Norm
from harness.attacks.black_box.noise import Noise
from harness.attacks.registry import attack, needs_gradient
from tests.harness.attacks.black_box.victims import PIXELS, Array, Asked, check_inside, constant, lengths

pytestmark = pytest.mark.core


def grey(count: int) -> Array:
    return np.full((count, 1, 4, 4), 0.5, np.float32)


def zeros(count: int) -> Array:
    return np.zeros(count, np.int64)


def losing_at(wins_at: dict[int, int], count: int) -> Asked:
    """Return a victim that the images of these rows fool at their n-th question."""

    def scores(_: Array, rows: Array) -> Array:
        loses = np.array([wins_at.get(int(row)) == victim.counts[row] + 1 for row in rows])
        return np.stack([~loses, loses], axis=1)

    victim = Asked(scores, zeros(count))
    return victim


@settings(deadline=None, max_examples=60)
@given(
    images=PIXELS,
    epsilon=st.floats(1e-4, 1.0),
    norm=st.sampled_from(NORMS),
    draws=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_image_stays_in_the_ball_and_is_an_image(
    images: Array, epsilon: float, norm: Norm, draws: int, seed: int
) -> None:
    before = images.copy()
    victim = losing_at({0: draws}, len(images))
    found = Noise(draws=draws)(victim, images, zeros(len(images)), epsilon=epsilon, norm=norm, seed=seed)
    for rows, points in zip(victim.rows, victim.shown, strict=True):
        check_inside(points, images[rows], epsilon, norm)
    check_inside(found, images, epsilon, norm)
    np.testing.assert_array_equal(images, before)


def test_every_pixel_moves_by_the_radius_either_way() -> None:
    moves = Noise()(constant(zeros(200)), grey(200), zeros(200), epsilon=0.125) - 0.5
    assert set(np.unique(moves)) == {-0.125, 0.125}
    assert abs(moves.mean()) < 0.01  # 3200 signs: ± 0.125 / sqrt(3200) = 0.002


def test_in_l2_images_move_by_the_radius_in_every_direction() -> None:
    moves = Noise()(constant(zeros(2000)), grey(2000), zeros(2000), epsilon=0.25, norm="l2") - np.float32(0.5)
    np.testing.assert_allclose(lengths(moves), 0.25, rtol=1e-5)
    flat = moves.reshape(2000, -1)
    np.testing.assert_allclose(flat.T @ flat / 2000, np.eye(16) * 0.25**2 / 16, atol=6e-4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("wins", [False, True])
def test_results_do_not_depend_on_how_images_are_batched(norm: Norm, wins: bool) -> None:
    images = np.random.default_rng(0).random((11, 1, 4, 4), np.float32)
    ids = np.arange(100, 111)

    def attacked(part: slice) -> Array:
        chosen = ids[part]
        victim = losing_at({row: 2 for row, one in enumerate(chosen) if one % 3 == 0 and wins}, len(chosen))
        return Noise()(victim, images[part], zeros(len(chosen)), epsilon=0.125, norm=norm, image_ids=chosen)

    np.testing.assert_array_equal(
        np.concatenate([attacked(slice(0, 4)), attacked(slice(4, 11))]), attacked(slice(None))
    )


@pytest.mark.parametrize("norm", NORMS)
def test_draws_follow_the_seed_and_the_image_alone(norm: Norm) -> None:
    def attacked(seed: int) -> Array:
        return Noise()(constant(zeros(20)), grey(20), zeros(20), epsilon=0.125, norm=norm, seed=seed)

    one = attacked(0)
    np.testing.assert_array_equal(attacked(0), one)
    assert len({image.tobytes() for image in one}) == 20
    assert not (attacked(1) == one).all(axis=(1, 2, 3)).any()


def test_an_image_that_won_stays_as_it_was_and_the_attack_stops_when_all_have_won() -> None:
    victim = losing_at({0: 1, 1: 3, 2: 2}, 3)
    found = Noise()(victim, grey(3), zeros(3), epsilon=0.125)
    assert victim.rows == [[0, 1, 2], [1, 2], [1]]
    for row, image in victim.winners.items():
        np.testing.assert_array_equal(found[row], image)


def test_an_image_that_never_wins_gets_every_draw_and_each_is_another_point() -> None:
    victim = constant(zeros(2))
    Noise(draws=4)(victim, grey(2), zeros(2), epsilon=0.125)
    assert victim.rows == [[0, 1]] * 4
    assert len({points.tobytes() for points in victim.shown}) == 4


def test_scores_that_are_not_finite_fool() -> None:
    victim = constant(zeros(2), score=np.nan)
    Noise(draws=4)(victim, grey(2), zeros(2), epsilon=0.125)
    assert victim.rows == [[0, 1]]


def test_it_needs_no_gradient_and_says_so() -> None:
    assert not needs_gradient("noise")
    with pytest.raises(InputError, match="unknown attack 'nois'; did you mean 'noise'"):
        needs_gradient("nois")


def test_settings_become_hyper_parameters() -> None:
    assert attack("noise", {"draws": 3}) == Noise(draws=3)


@pytest.mark.parametrize("chosen", [{"draws": 0}, {"draws": -1}, {"draws": "many"}, {"draw": 3}], ids=str)
def test_settings_out_of_range_or_unknown_are_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"attack\.noise.*draws") as caught:
        attack("noise", chosen)
    assert "\n" not in str(caught.value)
