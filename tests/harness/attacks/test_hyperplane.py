from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.attacks.ball import NORMS, Norm
from harness.attacks.hyperplane import shortest_step
from harness.attacks.victim import Array


def bisected(points: Array, normals: Array, gaps: Array, norm: Norm) -> Array:
    """Return the shortest steps, float64, by halving the interval that the multiplier lies in."""
    normals = normals * np.sign(gaps)[:, None]
    weights, gaps = np.abs(normals), np.abs(gaps)[:, None]
    room = np.where(normals > 0, 1 - points, points) * (weights > 0)
    profile = weights if norm == "l2" else np.ones_like(weights)

    low = np.zeros_like(gaps)
    high = np.max(room / np.where(weights > 0, profile, 1), axis=1, keepdims=True) * 2 + 1
    for _ in range(200):
        middle = (low + high) / 2
        short = (weights * np.minimum(middle * profile, room)).sum(1, keepdims=True) < gaps
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    steps: Array = np.minimum(high * profile, room) * np.sign(normals)
    return steps


def size(steps: Array, norm: Norm) -> Array:
    found: Array = np.abs(steps).max(1) if norm == "linf" else np.sqrt((steps**2).sum(1))
    return found


def assert_close(found: Tensor, expected: Tensor, rtol: float = 1e-5) -> None:
    """Compare as `torch.testing` does, which takes seconds to import."""
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=rtol, atol=1e-6)


def cases(n: int, d: int, seed: int, reach: float, zeros: float, faces: float) -> tuple[Array, Array, Array]:
    """Return points, normals and gaps, float64; at `reach` 1 a gap is as large as what the box allows at most."""
    random = np.random.default_rng(seed)
    points = np.where(random.random((n, d)) < faces, random.integers(0, 2, (n, d)), random.random((n, d)))
    normals = random.normal(size=(n, d)) * 10.0 ** random.uniform(-3, 1, (n, 1)) * (random.random((n, d)) >= zeros)
    signs = random.choice([-1.0, 1.0], n)
    most = np.maximum(normals * signs[:, None] * (1 - points), -normals * signs[:, None] * points).sum(1)
    return points, normals, signs * most * reach


def stepped(points: Array, normals: Array, gaps: Array, norm: Norm, dtype: torch.dtype = torch.float64) -> Array:
    point, normal, gap = (torch.tensor(each, dtype=dtype) for each in (points, normals, gaps))
    steps = shortest_step(point, normal, gap, norm)
    assert steps.dtype == dtype
    found: Array = steps.double().numpy()
    return found


VARIED = {
    "n": st.integers(1, 5),
    "d": st.integers(1, 40),
    "seed": st.integers(0, 10_000),
    "reach": st.one_of(st.floats(0, 0.999), st.floats(1.001, 3)),
    "zeros": st.sampled_from([0.0, 0.3, 1.0]),
    "faces": st.sampled_from([0.0, 0.5, 1.0]),
    "norm": st.sampled_from(NORMS),
}


@settings(max_examples=100, deadline=None)
@given(**VARIED)
def test_the_step_is_the_one_that_bisection_finds(
    n: int, d: int, seed: int, reach: float, zeros: float, faces: float, norm: Norm
) -> None:
    points, normals, gaps = cases(n, d, seed, reach, zeros, faces)
    expected = bisected(points, normals, gaps, norm)
    np.testing.assert_allclose(stepped(points, normals, gaps, norm), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(**VARIED)
def test_in_single_precision_it_reaches_as_far_and_is_no_longer_up_to_roundings(
    n: int, d: int, seed: int, reach: float, zeros: float, faces: float, norm: Norm
) -> None:
    points, normals, gaps = cases(n, d, seed, reach, zeros, faces)
    points, normals, gaps = (np.float64(np.float32(each)) for each in (points, normals, gaps))
    steps = stepped(points, normals, gaps, norm, torch.float32)
    moved = points + steps
    assert moved.min() >= 0 and moved.max() <= 1 + 1e-7
    assert (steps[normals == 0] == 0).all()
    assert (steps * normals * gaps[:, None] >= 0).all()

    roundings = 2e-6 * np.abs(normals).sum(1)
    reached = (normals * bisected(points, normals, gaps, norm)).sum(1)
    assert (np.abs((normals * steps).sum(1) - reached) <= roundings).all()
    further = bisected(points, normals, gaps + np.sign(gaps) * roundings, norm)
    assert (size(steps, norm) <= size(further, norm) * (1 + 1e-5) + 1e-7).all()


@pytest.mark.parametrize("norm", NORMS)
def test_away_from_the_faces_the_distance_is_the_textbooks(norm: Norm) -> None:
    normals = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gaps = torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64)
    steps = shortest_step(torch.full_like(normals, 0.5), normals, gaps, norm)
    dual = normals.flatten(1).abs().sum(1) if norm == "linf" else normals.flatten(1).norm(dim=1)
    assert_close(torch.from_numpy(size(steps.flatten(1).numpy(), norm)), gaps.abs() / dual)
    assert_close((steps * normals).sum((1, 2, 3)), gaps)


@pytest.mark.parametrize("norm", NORMS)
def test_a_hyperplane_out_of_reach_is_approached_to_the_corner(norm: Norm) -> None:
    points = torch.tensor([[0.25, 0.5, 1.0, 0.75]])
    step = shortest_step(points, torch.tensor([[2.0, -1e-6, 3.0, 0.0]]), torch.tensor([100.0]), norm)
    assert_close(points + step, torch.tensor([[1.0, 0.0, 1.0, 0.75]]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("gap", [0.0, 1.0, -1e30])
def test_without_a_normal_nothing_moves(norm: Norm, gap: float) -> None:
    assert shortest_step(torch.rand(1, 5), torch.zeros(1, 5), torch.tensor([gap]), norm).tolist() == [[0.0] * 5]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_the_normals_length_does_not_matter(norm: Norm, scale: float) -> None:
    points, normals, gaps = (torch.tensor(each, dtype=torch.float32) for each in cases(4, 30, 0, 0.7, 0.2, 0.3))
    scaled = shortest_step(points, normals * scale, gaps * scale, norm)
    assert_close(scaled, shortest_step(points, normals, gaps, norm), rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_values_of_very_different_weights_are_stepped_along(norm: Norm) -> None:
    weights = 10.0 ** -torch.arange(0.0, 40.0)[None]
    points = torch.full_like(weights, 0.5)
    step = shortest_step(points, weights, torch.tensor([0.55]), norm)
    assert step.isfinite().all()
    assert_close((step * weights).sum(), torch.tensor(0.55))


@pytest.mark.parametrize("norm", NORMS)
def test_rows_do_not_know_each_other_and_arguments_stay_as_they_are(norm: Norm) -> None:
    points, normals, gaps = (torch.tensor(each, dtype=torch.float32) for each in cases(6, 50, 1, 0.5, 0.2, 0.3))
    gaps[1] *= 100  # out of reach
    before = [each.clone() for each in (points, normals, gaps)]
    together = shortest_step(points, normals, gaps, norm)
    alone = [
        shortest_step(points[row : row + 1], normals[row : row + 1], gaps[row : row + 1], norm) for row in range(6)
    ]
    assert_close(together, torch.cat(alone))
    assert all(torch.equal(one, other) for one, other in zip((points, normals, gaps), before, strict=True))
