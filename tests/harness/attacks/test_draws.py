from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.attacks.draws import normal, signs, uniform

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]
Draw = Callable[[int, Array, int, tuple[int, ...]], Array]

DRAWS = (uniform, signs, normal)
EVERY = pytest.mark.parametrize("draw", DRAWS)

SEEDS = st.integers(0, 2**63 - 1)
IDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6)
SHAPES = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@given(draw=st.sampled_from(DRAWS), seed=SEEDS, ids=IDS, stream=st.integers(0, 10**6), shape=SHAPES, data=st.data())
def test_numbers_depend_on_no_other_image_nor_on_its_place_in_the_batch(
    draw: Draw, seed: int, ids: list[int], stream: int, shape: tuple[int, ...], data: st.DataObject
) -> None:
    together = draw(seed, np.array(ids), stream, shape)
    assert together.shape == (len(ids), *shape)
    assert together.dtype == np.float32
    assert together.flags.c_contiguous
    order = data.draw(st.permutations(range(len(ids))))
    np.testing.assert_array_equal(draw(seed, np.array(ids)[order], stream, shape), together[order])
    for row, image_id in enumerate(ids):
        np.testing.assert_array_equal(draw(seed, np.array([image_id]), stream, shape)[0], together[row])


@given(draw=st.sampled_from((uniform, signs)), seed=SEEDS, image_id=st.integers(0, 10**6), count=st.integers(1, 40))
def test_fewer_numbers_are_the_first_of_more(draw: Draw, seed: int, image_id: int, count: int) -> None:
    ids = np.array([image_id])
    np.testing.assert_array_equal(draw(seed, ids, 0, (count,)), draw(seed, ids, 0, (50,))[:, :count])


def test_many_numbers_of_an_image_go_on_as_they_began() -> None:
    many = uniform(1, np.array([2]), 3, (200_000,))[0]  # hashed in more than one piece
    np.testing.assert_array_equal(many[:1000], uniform(1, np.array([2]), 3, (1000,))[0])
    assert len(np.unique(many)) > 0.99 * len(many)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_uniform_numbers_fill_the_interval_evenly(seed: int) -> None:
    numbers = uniform(seed, np.arange(100), 0, (1000,)).astype(np.float64)
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    assert abs(numbers.mean() - 1 / 2) < 0.004  # 100,000 numbers: a standard error of 0.0009
    assert abs(numbers.var() - 1 / 12) < 0.001  # of 0.0002
    counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 100  # chi-squared of 49 degrees: 49 +- 10


def test_uniform_numbers_are_multiples_of_two_to_the_minus_24() -> None:
    scaled = uniform(0, np.arange(10), 0, (1000,)).astype(np.float64) * 2**24
    np.testing.assert_array_equal(scaled, scaled.round())


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_signs_are_either_as_often(seed: int) -> None:
    numbers = signs(seed, np.arange(100), 0, (1000,))
    assert set(np.unique(numbers)) == {-1.0, 1.0}
    assert abs(numbers.mean()) < 0.015  # a standard error of 0.0032


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_normal_numbers_have_the_moments_and_the_tails(seed: int) -> None:
    numbers = normal(seed, np.arange(100), 0, (1001,)).astype(np.float64)  # odd: the last of a pair is dropped
    assert np.isfinite(numbers).all()
    for power, moment, width in ((1, 0, 0.014), (2, 1, 0.02), (3, 0, 0.05), (4, 3, 0.14)):
        assert abs((numbers**power).mean() - moment) < width, power
    assert abs((np.abs(numbers) > 1.959964).mean() - 0.05) < 0.004
    assert np.abs(numbers).max() > 3.5


@EVERY
def test_seeds_ids_and_streams_tell_draws_apart(draw: Draw) -> None:
    ids = np.arange(4)
    places = [(seed, stream) for seed in range(4) for stream in range(4)]
    rows = [draw(seed, ids, stream, (64,))[image] for seed, stream in places for image in range(4)]
    assert len({row.tobytes() for row in rows}) == 64


@EVERY
def test_neighbours_are_not_correlated(draw: Draw) -> None:
    def correlation(one: Array, other: Array) -> float:
        return float(np.abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]))

    ids, shape = np.arange(100), (500,)
    numbers = draw(0, ids, 0, shape)
    assert correlation(numbers[:-1], numbers[1:]) < 0.02, "images"  # 50,000 pairs: a standard error of 0.0045
    assert correlation(numbers[:, :-1], numbers[:, 1:]) < 0.02, "places"
    assert correlation(numbers, draw(0, ids, 1, shape)) < 0.02, "streams"
    assert correlation(numbers, draw(1, ids, 0, shape)) < 0.02, "seeds"
    assert correlation(numbers, draw(0, ids + 2**32, 0, shape)) < 0.02, "far ids"
    assert correlation(numbers, draw(1, ids - 1, 0, shape)) < 0.02, "a seed up and an id down"


def splitmix64(state: int, count: int) -> list[int]:
    """Return the generator's first numbers, in Python's integers."""
    found = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        found.append(word ^ word >> 31)
    return found


@given(seed=SEEDS, image_id=st.integers(0, 2**63 - 1), stream=st.integers(0, 10**6))
def test_an_image_s_numbers_are_a_run_of_the_published_generator(seed: int, image_id: int, stream: int) -> None:
    assert splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]
    (of_seed,) = splitmix64(seed, 1)
    (of_image,) = splitmix64(of_seed + image_id - 0x9E3779B97F4A7C15, 1)
    (key,) = splitmix64(of_image + stream * 0x9E3779B97F4A7C15, 1)
    expected = [word >> 40 for word in splitmix64(key, 5)]
    np.testing.assert_array_equal(uniform(seed, np.array([image_id]), stream, (5,))[0] * np.float32(2**24), expected)


def test_these_numbers_are_the_same_on_every_machine() -> None:
    ids = np.arange(2)
    expected = np.array([[6141429, 4430124, 3780220], [16580903, 3866635, 13931543]])
    np.testing.assert_array_equal(uniform(0, ids, 0, (3,)) * np.float32(2**24), expected)
    np.testing.assert_array_equal(uniform(5, np.array([7]), 3, (2, 1))[0, 0], [np.float32(0.45068884)])
    np.testing.assert_array_equal(signs(0, ids, 0, (8,)), [[-1, -1, -1, -1, 1, -1, 1, -1], [1, -1, 1, 1, 1, 1, -1, 1]])
    np.testing.assert_allclose(
        normal(0, ids, 0, (3,)),
        [[0.14747113, -0.03721911, 0.943317], [1.4432111, 0.5109392, -2.6102252]],
        rtol=1e-5,  # sines and logarithms are rounded otherwise elsewhere
    )
