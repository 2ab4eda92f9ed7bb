"""Engines that answer otherwise when they are asked again, each with its fault planted; all of them simulated."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from harness.robustness.decisions import decide
from harness.robustness.repeatability import VOTES, Repeatability, measure, voted

pytestmark = pytest.mark.core

Array = npt.NDArray[np.float32]

CLASSES = 4
_WEIGHTS = np.random.default_rng(0).normal(size=(16, CLASSES)).astype(np.float32)


def images_of(n: int) -> Array:
    return np.random.default_rng(1).random((n, 1, 4, 4), np.float32)


def steady(images: Array) -> Array:
    """Row by row: a product of matrices rounds otherwise in another batch."""
    return np.stack([row @ _WEIGHTS for row in images.reshape(len(images), -1)])


def late_by(calls: int) -> Callable[[Array], Array]:
    """Return an engine that answers with what it was asked `calls` times before."""
    asked: list[Array] = []

    def infer(images: Array) -> Array:
        asked.append(images)
        before = steady(asked[max(len(asked) - 1 - calls, 0)])
        return np.resize(before, (len(images), CLASSES))

    return infer


def one_buffer() -> Callable[[Array], Array]:
    """Return an engine that returns a part of the same memory every time."""
    buffer = np.zeros((256, CLASSES), np.float32)

    def infer(images: Array) -> Array:
        buffer[: len(images)] = steady(images)
        return buffer[: len(images)]

    return infer


def noisy(scale: float) -> Callable[[Array], Array]:
    generator = np.random.default_rng(3)
    return lambda images: steady(images) + generator.normal(0, scale, (len(images), CLASSES)).astype(np.float32)


def by_position(images: Array) -> Array:
    """Mix up the first image of every batch."""
    scores = steady(images)
    scores[0] = scores[0, ::-1]
    return scores


def by_size(images: Array) -> Array:
    return steady(images) if len(images) > 10 else -steady(images)


def test_a_steady_engine_is_steady() -> None:
    found = measure(steady, images_of(200))
    assert found == Repeatability(200, 3, 0, 0, 0, 0.0, votes=1, fault=None)
    assert not found.wavers
    assert found.warning() is None


def test_one_image_and_small_batches_are_enough() -> None:
    assert measure(steady, images_of(1)).warning() is None
    assert measure(steady, images_of(10), batch=3).warning() is None


@pytest.mark.parametrize("calls", [1, 2, 1000])
def test_answers_to_earlier_questions_are_stale(calls: int) -> None:
    found = measure(late_by(calls), images_of(200))
    assert found.fault == "stale"
    assert found.votes == 1, "asking again brings more of the same"
    assert "earlier question" in str(found.warning())


def test_scores_that_change_after_they_were_returned_are_told() -> None:
    found = measure(one_buffer(), images_of(150))
    assert found.fault == "overwritten"
    assert (found.changed_by_run, found.changed_by_batch) == (0, 0), "compared are copies"
    assert "copy of the output buffer" in str(found.warning())


def test_a_wavering_engine_is_to_be_asked_five_times() -> None:
    found = measure(noisy(0.5), images_of(200))
    assert found.fault is None
    assert found.wavers
    assert 0 < found.changed_by_run < 200
    assert found.votes == VOTES == 5
    assert 0.1 < found.largest_difference < 5
    told = str(found.warning())
    assert f"{found.changed_by_run} of 200 images" in told
    assert "majority of 5" in told


def test_a_difference_that_changes_no_decision_needs_no_votes() -> None:
    found = measure(noisy(1e-6), images_of(50))
    assert not found.wavers
    assert 0 < found.largest_difference < 1e-4
    assert (found.votes, found.warning()) == (1, None)


def test_a_place_in_the_batch_that_matters_is_no_wavering() -> None:
    found = measure(by_position, images_of(100))
    assert not found.wavers
    assert (found.changed_by_run, found.votes) == (0, 1)
    assert 1 <= found.changed_by_position <= 5
    assert found.changed_by_batch >= 7, "another batch size has other first images"
    assert "a majority cannot help" in str(found.warning())


def test_a_batch_size_that_matters_is_counted() -> None:
    found = measure(by_size, images_of(100))
    assert (found.changed_by_run, found.changed_by_position) == (0, 0)
    assert found.changed_by_batch == 100
    assert "100 in batches of another size" in str(found.warning())


def test_scores_that_are_not_finite_are_not_called_stale() -> None:
    def infer(images: Array) -> Array:
        return np.full((len(images), CLASSES), np.nan, np.float32)

    found = measure(infer, images_of(20))
    assert (found.fault, found.changed_by_run, found.largest_difference) == (None, 0, 0.0)


def test_it_survives_a_file() -> None:
    found = measure(noisy(0.5), images_of(60))
    assert Repeatability.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_votes_return_the_first_answer_of_the_majority() -> None:
    answers = iter(np.array([[[9, 0, 0]], [[0, 1, 0]], [[0, 2, 0]], [[0, 0, 3]], [[0, 4, 0]]], np.float32))
    assert voted(lambda images: next(answers), 5)(images_of(1)).tolist() == [[0, 1, 0]]


def test_a_tie_goes_to_the_class_that_came_first() -> None:
    answers = iter(np.array([[[9, 0, 0]], [[0, 1, 0]], [[0, 0, 3]]], np.float32))
    assert voted(lambda images: next(answers), 3)(images_of(1)).tolist() == [[9, 0, 0]]


def test_votes_take_every_image_by_itself_and_an_overwritten_buffer_does_no_harm() -> None:
    buffer = np.zeros((2, 2), np.float32)
    shown = iter([[[1, 0], [0, 1]], [[1, 0], [2, 0]], [[0, 1], [3, 0]]])

    def infer(images: Array) -> Array:
        buffer[:] = next(shown)
        return buffer

    assert voted(infer, 3)(images_of(2)).tolist() == [[1, 0], [2, 0]]


def test_a_majority_is_nearer_to_the_truth_than_one_answer() -> None:
    images = images_of(200)
    truth = decide(steady(images))
    one = (decide(noisy(0.5)(images)) != truth).sum()
    many = (decide(voted(noisy(0.5), 15)(images)) != truth).sum()
    assert many < one


def test_one_vote_is_the_engine_itself() -> None:
    assert voted(steady, 1) is steady
