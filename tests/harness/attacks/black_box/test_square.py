from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.attacks.ball import NORMS, Ball, Norm
from harness.attacks.black_box.square import Square
from harness.attacks.black_box.square_l2 import L2Proposals, bumps
from harness.attacks.registry import attack, needs_gradient
from tests.harness.attacks.black_box.victims import (
    PIXELS,
    Array,
    Asked,
    Linear,
    check_inside,
    constant,
    greys,
    lengths,
)

pytestmark = pytest.mark.core


@settings(deadline=None, max_examples=60)
@given(
    images=PIXELS,
    epsilon=st.floats(1e-3, 1.0),
    norm=st.sampled_from(NORMS),
    p_init=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_point_it_asks_about_is_in_the_ball_and_an_image(
    images: Array, epsilon: float, norm: Norm, p_init: float, seed: int
) -> None:
    before = images.copy()
    model = Linear(images.shape[1:])
    labels = model.labels(images)
    victim = model.asked(labels)
    found = Square(queries=14, p_init=p_init, restarts=2)(victim, images, labels, epsilon=epsilon, norm=norm, seed=seed)
    for rows, points in zip(victim.rows, victim.shown, strict=True):
        check_inside(points, images[rows], epsilon, norm)
    check_inside(found, images, epsilon, norm)
    np.testing.assert_array_equal(images, before)


def test_by_single_pixels_it_finds_the_worst_corner_of_a_linear_victim() -> None:
    images: Array = np.clip(greys(10) * 2 - 0.5, 0, 1)
    model = Linear(images.shape[1:], classes=2)
    labels = model.labels(images)
    epsilon = 0.01
    away = (model.weights[1 - labels] - model.weights[labels]).astype(np.float32)
    corner = (images + np.float32(epsilon) * np.sign(away)).clip(0, 1)
    stands = model.labels(corner) == labels
    assert stands.sum() >= 2, "some must be beyond reach"
    found = Square(queries=900, p_init=1 / 16)(model.asked(labels), images, labels, epsilon=epsilon)
    np.testing.assert_allclose(found[stands], corner[stands], rtol=0, atol=1e-7)
    np.testing.assert_array_equal(model.labels(found) == labels, stands)


@pytest.mark.parametrize("norm", NORMS)
def test_what_failed_comes_back_as_the_point_of_the_lowest_margin_shown_in_any_restart(norm: Norm) -> None:
    images = greys(6)
    model = Linear(images.shape[1:])
    labels = model.labels(images)
    victim = model.asked(labels)
    found = Square(queries=40, restarts=3)(victim, images, labels, epsilon=1e-3, norm=norm)
    standing = [row for row in range(6) if row not in victim.winners]
    assert len(standing) >= 3
    for row in standing:
        questions = zip(victim.rows, victim.shown, strict=True)
        shown = np.stack([points[rows.index(row)] for rows, points in questions if row in rows])
        scores = model(shown)
        margins = scores[:, labels[row]] - np.delete(scores, labels[row], axis=1).max(axis=1)
        np.testing.assert_array_equal(found[row], shown[margins.argmin()])


@pytest.mark.parametrize("norm", NORMS)
def test_what_fooled_the_victim_comes_back_and_is_asked_about_no_more(norm: Norm) -> None:
    images = greys(30)
    model = Linear(images.shape[1:])
    labels = model.labels(images)
    victim = model.asked(labels)
    found = Square(queries=200, restarts=2)(victim, images, labels, epsilon=0.05 if norm == "linf" else 0.2, norm=norm)
    assert 0 < len(victim.winners) < 30
    for row, image in victim.winners.items():
        np.testing.assert_array_equal(found[row], image)
        last = max(number for number, rows in enumerate(victim.rows) if row in rows)
        np.testing.assert_array_equal(victim.shown[last][victim.rows[last].index(row)], image)
    won = np.isin(np.arange(30), list(victim.winners))
    np.testing.assert_array_equal(model.labels(found) != labels, won)
    # What changes nothing counts as asked and is not asked; an L2 proposal always changes something.
    assert victim.counts[~won].min() > (300 if norm == "linf" else 399)
    assert victim.counts.max() <= 400


def test_no_proposal_that_is_the_best_point_itself_is_asked_about() -> None:
    images = greys(4, (1, 3, 3))
    labels = np.zeros(4, np.int64)
    victim = constant(labels)
    Square(queries=300)(victim, images, labels, epsilon=0.1)
    starts = victim.shown[0]
    assert 4 < victim.counts.sum() < 4 * 300
    for rows, points in zip(victim.rows[1:], victim.shown[1:], strict=True):
        assert (points != starts[rows]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_results_do_not_depend_on_how_images_are_batched(norm: Norm) -> None:
    images = greys(11, (3, 6, 5))
    ids = np.arange(100, 111)
    model = Linear(images.shape[1:])
    labels = model.labels(images)

    def attacked(part: slice) -> Array:
        way = Square(queries=60, restarts=2)
        return way(
            model.asked(labels[part]), images[part], labels[part], epsilon=0.04, norm=norm, image_ids=ids[part], seed=3
        )

    parts = [attacked(slice(0, 4)), attacked(slice(4, 5)), attacked(slice(5, 11))]
    np.testing.assert_array_equal(np.concatenate(parts), attacked(slice(None)))


@pytest.mark.parametrize("norm", NORMS)
def test_draws_follow_seed_and_image_and_each_restart_has_its_own(norm: Norm) -> None:
    images: Array = np.full((5, 1, 8, 8), 0.5, np.float32)
    labels = np.zeros(5, np.int64)

    def asked(seed: int) -> Asked:
        victim = constant(labels)
        Square(queries=2, restarts=2)(victim, images, labels, epsilon=0.1, norm=norm, seed=seed)
        return victim

    one, other = asked(0), asked(1)
    np.testing.assert_array_equal(one.shown, asked(0).shown)
    for points in one.shown:
        assert len({point.tobytes() for point in points}) == 5
    assert not np.array_equal(one.shown[0], other.shown[0])
    assert not np.array_equal(one.shown[0], one.shown[2])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 9)], ids=str)
def test_an_linf_proposal_sets_one_square_to_ends_of_the_ball(shape: tuple[int, int, int]) -> None:
    images: Array = np.random.default_rng(0).random((40, *shape), np.float32)
    victim = constant(np.zeros(40, np.int64))
    Square(queries=120, p_init=0.2)(victim, images, np.zeros(40, np.int64), epsilon=0.25)
    low, high = (images - np.float32(0.25)).clip(0, 1), (images + np.float32(0.25)).clip(0, 1)
    start = victim.shown[0]
    assert (((start == low) | (start == high)).all(axis=(0, 1))).all()
    assert ((start == low).all(axis=2) | (start == high).all(axis=2)).all(), "stripes from top to bottom"
    touched = np.zeros(shape[1:], bool)
    for number, (rows, points) in enumerate(zip(victim.rows[1:], victim.shown[1:], strict=True)):
        side = round((0.2 / 2 ** ((number > 10) + (number > 50)) * shape[1] * shape[2]) ** 0.5)
        changed = (points != start[rows]).any(axis=1)
        touched |= changed.any(axis=0)
        extents = []
        for point, mask, lower, upper in zip(points, changed, low[rows], high[rows], strict=True):
            extents.append(np.ptp(np.argwhere(mask), axis=0).max() + 1)
            assert (((point == lower) | (point == upper))[:, mask]).all()
        assert max(extents) == side
    assert touched.all(), "the last row and column have their turn"


def test_l2_proposals_have_the_radius_s_length_before_they_are_clipped() -> None:
    images = greys(20, (3, 20, 20))
    victim = constant(np.zeros(20, np.int64))
    Square(queries=30, p_init=0.05)(victim, images, np.zeros(20, np.int64), epsilon=0.5, norm="l2")
    for points in victim.shown:
        np.testing.assert_allclose(lengths(points - images), 0.5, rtol=1e-5)


def moved(change: Array, epsilon: float, side: int, numbers: Array) -> Array:
    """Return the published L2 step for one image in double precision, square by square."""
    channels, height, width = change.shape
    span = np.array([height - side + 1, width - side + 1])
    corners = [np.floor(numbers[k : k + 2] * span).astype(int) for k in (0, 2)]
    filled, emptied = ((slice(top, top + side), slice(left, left + side)) for top, left in corners)
    either = np.zeros((height, width), bool)
    either[filled] = either[emptied] = True
    unused = max(epsilon**2 - (change**2).sum(), 0)
    made: Array = change.copy()
    for channel in range(channels):
        old = change[channel][filled]
        bump = bumps(side) if numbers[4] >= 0.5 else bumps(side).T
        new = (1 if numbers[5 + channel] >= 0.5 else -1) * bump + old / np.linalg.norm(old)
        length = np.sqrt(unused / channels + (change[channel][either] ** 2).sum())
        made[channel][emptied] = 0
        made[channel][filled] = new / np.linalg.norm(new) * length
    made *= epsilon / np.linalg.norm(made)
    return made


@pytest.mark.parametrize(("share", "side"), [(0.6, 7), (0.2, 5), (0.01, 3)])
def test_an_l2_proposal_is_the_published_one_with_squares_of_each_image_s_own(share: float, side: int) -> None:
    drawn = np.random.default_rng(0)
    images = np.clip(greys(12, (3, 7, 9)) * 2 - 0.5, 0, 1)  # clipped changes leave some of the radius unused
    best = (images + drawn.normal(size=images.shape).astype(np.float32) * np.float32(0.1)).clip(0, 1)
    rows = np.arange(3, 12)
    numbers = drawn.random((9, 8), np.float32)
    proposals = L2Proposals(images, Ball("l2", 1.5))
    found = proposals.next(best, rows, share, lambda shape: numbers.reshape(9, *shape))
    for row, point, own in zip(rows, found, numbers, strict=True):
        change = moved((best[row] - images[row]).astype(np.float64), 1.5, side, own)
        np.testing.assert_allclose(point, (images[row] + change).clip(0, 1), rtol=0, atol=1e-5)


def test_l2_starts_from_tiles_of_bumps() -> None:
    images = greys(2, (1, 12, 11))
    numbers = np.random.default_rng(0).random((2, 2, 6, 5), np.float32)
    found = L2Proposals(images, Ball("l2", 0.1)).first(np.arange(2), lambda shape: numbers.reshape(2, *shape))
    for image, point, (turns, heads) in zip(images, found, numbers, strict=True):
        signs = np.where(heads >= 0.5, 1, -1)
        tiles = [
            [sign * (bumps(2) if turn >= 0.5 else bumps(2).T) for sign, turn in zip(*line, strict=True)]
            for line in zip(signs, turns, strict=True)
        ]
        change = np.pad(np.block(tiles), ((0, 0), (0, 1)))
        np.testing.assert_allclose(point[0] - image[0], change * 0.1 / np.linalg.norm(change), rtol=0, atol=1e-6)


def test_a_bump_is_as_published() -> None:
    one = np.array([0.25, 1.25, 0.25]) / np.sqrt(2 * 0.25**2 + 1.25**2)
    two = np.array([[0.25, 0.25, 0.25], [0.25, 1.25, 0.25]]) / np.sqrt(5 * 0.25**2 + 1.25**2)
    np.testing.assert_allclose(bumps(3), np.concatenate([one[None], -two]) / np.sqrt(2), atol=1e-7)
    for side in (1, 2, 5, 8):
        assert np.linalg.norm(bumps(side)) == pytest.approx(1)


def test_squares_shrink_as_published() -> None:
    halvings = {0: 0, 10: 0, 11: 1, 50: 1, 51: 2, 200: 2, 201: 3, 501: 4, 1001: 5, 2001: 6, 4001: 7, 6001: 8, 8001: 9}
    assert {number: Square().share(number) for number in halvings} == {n: 0.8 / 2**k for n, k in halvings.items()}
    rescaled = Square(queries=1000, rescale_schedule=True)
    assert [rescaled.share(number) for number in (0, 1, 2, 800, 801)] == [0.8, 0.8, 0.4, 0.8 / 2**8, 0.8 / 2**9]


def test_a_score_that_is_not_finite_fools_and_a_tie_that_the_label_wins_does_not() -> None:
    images, labels = greys(3), np.zeros(3, np.int64)

    def scores(_: Array, rows: Array) -> Array:
        return np.array([[1.0, np.nan, 0.0], [1.0, 0.0, -np.inf], [1.0, 1.0, 1.0]])[rows]

    victim = Asked(scores, labels)
    found = Square(queries=5)(victim, images, labels, epsilon=0.1)
    assert victim.counts.tolist() == [1, 1, 5]
    np.testing.assert_array_equal(found, victim.shown[0])


def test_images_that_are_wrong_already_cost_one_question() -> None:
    images, labels = greys(4), np.ones(4, np.int64)
    victim = constant(np.zeros(4, np.int64))
    Square()(victim, images, labels, epsilon=0.1)
    assert victim.rows == [[0, 1, 2, 3]]


def test_settings_become_hyper_parameters() -> None:
    chosen = {"queries": 7, "p_init": 0.5, "restarts": 2, "rescale_schedule": True}
    assert attack("square", chosen) == Square(queries=7, p_init=0.5, restarts=2, rescale_schedule=True)
    assert attack("square", {}) == Square(queries=5000, p_init=0.8, restarts=1, rescale_schedule=False)
    assert not needs_gradient("square")


@pytest.mark.parametrize(
    "chosen",
    [{"queries": 0}, {"queries": 2.5}, {"p_init": 0.0}, {"p_init": 1.5}, {"p_init": float("nan")}, {"restarts": 0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(chosen: dict[str, Any]) -> None:
    (key,) = chosen
    with pytest.raises(InputError, match=rf"attack\.square.*{key}") as caught:
        attack("square", chosen)
    assert "\n" not in str(caught.value)
