from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.attacks.ball import NORMS, Norm
from harness.attacks.black_box.rays import RayS
from harness.attacks.registry import attack, needs_gradient
from tests.harness.attacks.black_box.victims import (
    PIXELS,
    Array,
    Asked,
    Linear,
    check_inside,
    constant,
    greys,
)

pytestmark = pytest.mark.core


@settings(deadline=None, max_examples=60)
@given(images=PIXELS, epsilon=st.floats(1e-3, 1.0), norm=st.sampled_from(NORMS), queries=st.integers(1, 40))
def test_what_comes_back_is_in_the_ball_and_fooled_the_victim_where_it_won(
    images: Array, epsilon: float, norm: Norm, queries: int
) -> None:
    before = images.copy()
    model = Linear(images.shape[1:])
    labels = model.labels(images)
    victim = model.asked(labels)
    found = RayS(queries=queries)(victim, images, labels, epsilon=epsilon, norm=norm)
    check_inside(found, images, epsilon, norm)
    for row in range(len(images)):
        if victim.counts[row] < queries:
            np.testing.assert_array_equal(found[row], victim.winners[row])
    assert victim.counts.max() <= queries
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(("factor", "wins"), [(1.02, True), (0.98, False)])
def test_on_a_linear_victim_it_finds_the_nearest_corner(factor: float, wins: bool) -> None:
    model = Linear((1, 4, 4), classes=2)
    image = greys(1, (1, 4, 4))
    label = model.labels(image)
    away = (model.weights[1 - label] - model.weights[label]).astype(np.float64)
    radius = -(away * image).sum() / np.abs(away).sum()
    assert 0.01 < radius < 0.25
    victim = model.asked(label)
    found = RayS(queries=2000)(victim, image, label, epsilon=factor * radius)
    assert (model.labels(found) != label).all() == wins
    assert (victim.counts == 2000).all() != wins
    np.testing.assert_array_equal(np.sign(found - image), np.sign(away))


def published(image: Array, tolerance: float) -> Generator[Array, bool, None]:
    """Walk through the published search for one image: yields what it asks about, is sent whether that is wrong."""
    values = image.size
    signs, radius, size = np.ones(values, np.float32), math.inf, values

    def point(ray: Array, at: float) -> Array:
        moved: Array = image + (np.float32(at) * ray).reshape(image.shape)
        return moved.clip(0, 1)

    while True:
        for begin in range(0, values, size):
            ray = signs.copy()
            ray[begin : begin + size] *= -1
            low, high = 0.0, min(radius, 1.0)
            if not (yield point(ray, high)):
                continue
            wide = True
            while wide:
                middle = (low + high) / 2
                if (yield point(ray, middle)):
                    high = middle
                else:
                    low = middle
                wide = high - low > tolerance / math.sqrt(values)
            if high < radius:
                signs, radius = ray, high
        size = math.ceil(size / 2)


def follow(victim: Asked, images: Array, labels: Array, queries: int) -> None:
    """Assert that every image is asked about what the published search asks about, answer by answer."""
    RayS(queries=queries)(victim, images, labels, epsilon=1e-6)
    assert (victim.counts == queries).all()
    for row in range(len(images)):
        walk = published(images[row], 1e-3)
        expected = next(walk)
        for points, wrong in zip(victim.shown, victim.wrong, strict=True):
            np.testing.assert_array_equal(points[row], expected)
            expected = walk.send(bool(wrong[row]))


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 2, 4)], ids=str)
def test_it_asks_what_the_published_search_asks(shape: tuple[int, ...]) -> None:
    images = greys(8, shape)
    model = Linear(shape)
    labels = model.labels(images)
    victim = model.asked(labels)
    follow(victim, images, labels, 300)
    assert len(victim.winners) > 4, "some must have searched"


def test_a_ray_that_is_wrong_but_no_nearer_is_not_taken() -> None:
    images = np.round(greys(3) * 64) / np.float32(64)  # sums of these are exact

    def far_is_wrong(points: Array, rows: Array) -> Array:
        far = np.abs(points - images[rows]).max(axis=(1, 2, 3)) >= 0.25
        return np.stack([~far, far], axis=1)

    labels = np.zeros(3, np.int64)
    follow(Asked(far_is_wrong, labels), images, labels, 100)


def test_scores_beyond_the_decision_change_nothing() -> None:
    images = greys(20)
    model = Linear(images.shape[1:])
    labels = model.labels(images)
    soft, hard = model.asked(labels), Asked(lambda shown, _: np.eye(3)[model.labels(shown)], labels)
    one = RayS(queries=200)(soft, images, labels, epsilon=0.02)
    other = RayS(queries=200)(hard, images, labels, epsilon=0.02)
    np.testing.assert_array_equal(one, other)
    assert soft.rows == hard.rows
    assert 0 < len(soft.rows[-1]) < 20, "some win and some do not"


@pytest.mark.parametrize("norm", NORMS)
def test_what_failed_comes_back_at_the_end_of_the_ball_along_its_ray(norm: Norm) -> None:
    images = greys(20)
    model = Linear(images.shape[1:])
    labels = model.labels(images)
    victim = model.asked(labels)
    epsilon = 1e-3 if norm == "linf" else 4e-3
    found = RayS(queries=300)(victim, images, labels, epsilon=epsilon, norm=norm)
    assert (victim.counts == 300).sum() > 10
    failed = victim.counts == 300
    change = (found - images)[failed]
    length = epsilon if norm == "linf" else epsilon / math.sqrt(change[0].size)
    np.testing.assert_allclose(np.abs(change), length, atol=1e-7)
    margins = model(found) - model(images)
    nearer = margins[np.arange(20), labels] - margins.max(axis=1)
    assert (nearer[failed] < 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_results_do_not_depend_on_how_images_are_batched(norm: Norm) -> None:
    images = greys(11, (3, 5, 4))
    model = Linear(images.shape[1:])
    labels = model.labels(images)

    def attacked(part: slice) -> Array:
        return RayS(queries=150)(model.asked(labels[part]), images[part], labels[part], epsilon=0.05, norm=norm)

    parts = [attacked(slice(0, 4)), attacked(slice(4, 5)), attacked(slice(5, 11))]
    np.testing.assert_array_equal(np.concatenate(parts), attacked(slice(None)))


def test_it_draws_nothing() -> None:
    images = greys(5)
    model = Linear(images.shape[1:])
    labels = model.labels(images)
    found = RayS(queries=100)(model, images, labels, epsilon=0.01, seed=0)
    ids = np.arange(7, 12)
    np.testing.assert_array_equal(RayS(queries=100)(model, images, labels, epsilon=0.01, seed=9, image_ids=ids), found)


def test_scores_that_are_not_finite_fool_and_bring_the_search_into_the_ball() -> None:
    images, labels = greys(3), np.zeros(3, np.int64)
    victim = constant(labels, score=np.nan)
    found = RayS(queries=50)(victim, images, labels, epsilon=0.1)
    assert victim.counts.tolist() == [5, 5, 5], "radii 1, 1/2, 1/4, 1/8, 1/16"
    check_inside(found, images, 0.1, "linf")
    np.testing.assert_array_equal(found, victim.shown[-1])


def test_a_victim_that_nothing_fools_is_asked_to_the_end() -> None:
    images, labels = greys(3), np.zeros(3, np.int64)
    victim = constant(labels)
    found = RayS(queries=70)(victim, images, labels, epsilon=0.1)
    assert victim.counts.tolist() == [70, 70, 70]
    check_inside(found, images, 0.1, "linf")


def test_settings_become_hyper_parameters() -> None:
    assert attack("rays", {"queries": 7, "tolerance": 0.5}) == RayS(queries=7, tolerance=0.5)
    assert attack("rays", {}) == RayS(queries=10_000, tolerance=1e-3)
    assert not needs_gradient("rays")


@pytest.mark.parametrize(
    "chosen",
    [{"queries": 0}, {"queries": "all"}, {"tolerance": 0.0}, {"tolerance": -1.0}, {"tolerance": math.inf}],
    ids=str,
)
def test_settings_out_of_range_are_refused(chosen: dict[str, Any]) -> None:
    (key,) = chosen
    with pytest.raises(InputError, match=rf"attack\.rays.*{key}") as caught:
        attack("rays", chosen)
    assert "\n" not in str(caught.value)
