from __future__ import annotations

import math
import re

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.attacks.ball import NORMS, Ball, Norm, check_radius
from harness.attacks.black_box import projection
from tests.harness.attacks.linear_models import SHAPE, greys, pixels

EVERY = pytest.mark.parametrize("norm", NORMS)
IDS = torch.arange(50)


@settings(max_examples=80, deadline=None)
@given(
    norm=st.sampled_from(NORMS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    epsilon=st.floats(1e-6, 1.0),
    far=st.sampled_from([1e-6, 0.01, 1.0, 1e4]),
    seed=st.integers(0, 1000),
)
def test_what_is_projected_is_an_image_of_the_ball_and_stays_where_it_is(
    norm: Norm, shape: tuple[int, int, int], epsilon: float, far: float, seed: int
) -> None:
    ball, images = Ball(norm, epsilon), pixels(3, shape, seed)
    points = images + far * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    found = ball.project(points, images)
    assert found.min() >= 0
    assert found.max() <= 1
    change = (found.double() - images.double()).flatten(1)
    assert change.norm(dim=1, p=2 if norm == "l2" else math.inf).max() <= epsilon + 1e-6
    torch.testing.assert_close(ball.project(found, images), found, rtol=0, atol=3e-7)
    numpy_s = projection.project(points.numpy(), images.numpy(), ball)
    np.testing.assert_allclose(numpy_s, found.numpy(), rtol=0, atol=3e-7 + 1e-6 * epsilon)


def test_the_linf_projection_is_the_nearest_allowed_point() -> None:
    images = torch.tensor([0.05, 0.5, 0.5, 0.95]).reshape(1, 1, 2, 2)
    points = torch.tensor([-1.0, 0.55, 2.0, 2.0]).reshape(1, 1, 2, 2)
    moved = Ball("linf", 0.1).project(points, images)
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.0, 0.55, 0.6, 1.0]))


def test_the_l2_projection_draws_back_along_the_ray_and_clips_then() -> None:
    images = torch.tensor([0.5, 0.5, 0.1, 0.5]).reshape(2, 1, 1, 2)
    points = images + torch.tensor([0.6, 0.8, -0.3, 0.4]).reshape(2, 1, 1, 2)
    moved = Ball("l2", 0.25).project(points, images)
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.65, 0.7, 0.0, 0.7]))


@pytest.mark.parametrize("size", [224, 1024])
def test_a_large_image_leaves_the_l2_ball_no_more_than_a_small_one(size: int) -> None:
    images = torch.full((1, 3, size, size), 0.5)
    points = images + torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    ball = Ball("l2", 3.0)
    for found in (
        ball.project(points, images),
        torch.from_numpy(projection.project(points.numpy(), images.numpy(), ball)),
    ):
        length = float((found.double() - images.double()).norm())
        assert 3.0 - 1e-5 < length <= 3.0 + 1e-6


def test_the_steepest_ascent_by_hand() -> None:
    gradient = torch.tensor([3.0, -4.0, 0.0, math.nan]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(Ball("linf", 0.1).direction(gradient).flatten(), torch.tensor([1.0, -1, 0, 0]))
    torch.testing.assert_close(Ball("l2", 0.1).direction(gradient).flatten(), torch.tensor([0.6, -0.8, 0, 0]))


@EVERY
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-12, 1.0, 1e12, 1e37, math.inf])
def test_a_direction_does_not_depend_on_the_gradient_s_length(norm: Norm, scale: float) -> None:
    gradient = torch.tensor([1.0, 1.0, -1.0, 1.0]).reshape(1, 1, 2, 2)
    ball = Ball(norm, 0.1)
    torch.testing.assert_close(ball.direction(scale * gradient), ball.direction(gradient))


@EVERY
def test_where_there_is_no_gradient_there_is_no_direction(norm: Norm) -> None:
    nothing = torch.zeros(2, 1, 2, 2)
    assert torch.equal(Ball(norm, 0.1).direction(nothing), nothing)


@EVERY
def test_an_image_s_direction_is_its_own(norm: Norm) -> None:
    gradient = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    gradient[1] *= 1e20
    gradient[2] = math.nan
    together = Ball(norm, 0.1).direction(gradient)
    for row in range(4):
        assert torch.equal(Ball(norm, 0.1).direction(gradient[row : row + 1])[0], together[row])


def test_distances_by_hand() -> None:
    images = torch.full((2, 1, 1, 2), 0.5)
    points = images + torch.tensor([0.3, -0.4, 0.0, 0.1]).reshape(2, 1, 1, 2)
    torch.testing.assert_close(Ball("linf", 0.1).distances(points, images), torch.tensor([0.4, 0.1]))
    torch.testing.assert_close(Ball("l2", 0.1).distances(points, images), torch.tensor([0.5, 0.1]))


@EVERY
@pytest.mark.parametrize("surface", [False, True])
def test_random_points_depend_on_seed_image_and_stream_alone(norm: Norm, surface: bool) -> None:
    ball, images = Ball(norm, 0.1), greys(50)
    draw = ball.random_surface_point if surface else ball.random_point
    one = draw(images, IDS, 0, 0)
    assert torch.equal(draw(images.flip(0), IDS.flip(0), 0, 0), one.flip(0))
    assert torch.equal(draw(images[7:9], IDS[7:9], 0, 0), one[7:9])
    for other in (draw(images, IDS, 1, 0), draw(images, IDS, 0, 1), draw(images, IDS + 50, 0, 0)):
        assert (other != one).flatten(1).any(1).all()
        pairs = torch.stack([(one - images).flatten(), (other - images).flatten()])
        assert torch.corrcoef(pairs)[0, 1].abs() < 0.1  # 1200 pairs: a standard error of 0.03


def test_random_points_fill_the_linf_ball() -> None:
    images = torch.full((50, 1, 8, 8), 0.5)
    offsets = (Ball("linf", 0.1).random_point(images, IDS, 0) - images).flatten()
    assert offsets.abs().max() <= 0.1 + 1e-7
    assert offsets.mean().abs() < 0.005
    assert offsets.std() == pytest.approx(0.2 / math.sqrt(12), rel=0.03)


def test_random_points_of_the_l2_ball_lie_in_every_direction_at_every_distance() -> None:
    images, ids = torch.full((2000, 1, 2, 2), 0.5), torch.arange(2000)
    offsets = (Ball("l2", 0.1).random_point(images, ids, 0) - images).flatten(1)
    lengths = offsets.norm(dim=1)
    assert lengths.max() <= 0.1 + 1e-7
    assert torch.histc(lengths, bins=4, min=0, max=0.1).min() > 400, "of 500 in each quarter"
    assert offsets.mean(0).abs().max() < 0.005
    covariance = torch.cov((offsets / lengths[:, None]).T)
    torch.testing.assert_close(covariance, torch.eye(4) / 4, rtol=0, atol=0.025)


@EVERY
def test_surface_points_are_epsilon_away(norm: Norm) -> None:
    images = torch.full((50, *SHAPE), 0.5)
    ball = Ball(norm, 0.1)
    found = ball.random_surface_point(images, IDS, 0)
    torch.testing.assert_close(ball.distances(found, images), torch.full((50,), 0.1), rtol=0, atol=2e-7)
    assert ((found - images).abs() < 0.09).any(), "a point, not a corner"


@pytest.mark.parametrize("epsilon", [0.0, -0.1, math.nan, math.inf, -math.inf])
@EVERY
def test_a_radius_that_cannot_be_is_refused(norm: Norm, epsilon: float) -> None:
    with pytest.raises(InputError, match=re.escape(f"epsilon must be finite and above 0, got {epsilon}")):
        Ball(norm, epsilon)


@pytest.mark.parametrize(("epsilon", "words"), [(8, "write 0.03137 (8/255)"), (1.5, "write 0.005882 (1.5/255)")])
def test_an_linf_radius_in_levels_is_refused_with_the_right_one(epsilon: float, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        Ball("linf", epsilon)
    assert "\n" not in str(caught.value)
    assert Ball("l2", epsilon).epsilon == epsilon, "an L2 distance may be larger than one"


def test_an_unknown_norm_is_refused_with_the_known() -> None:
    with pytest.raises(InputError, match="norm 'l1' is not known: use linf or l2"):
        check_radius("l1", 0.1)
