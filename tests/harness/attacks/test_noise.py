from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from contracts.errors import InputError
from harness.attacks.noise import Noise
from harness.attacks.registry import attack, needs_gradient
from harness.attacks.run import adversarial_images

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]

PIXELS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    elements=st.floats(0.0, 1.0, width=32),
)


def grey(count: int) -> Array:
    return np.full((count, 1, 4, 4), 0.5, np.float32)


def attacked(images: Array, *, draws: int = 10, ids: Array | None = None, seed: int = 0, judge: Any = None) -> Array:
    """Attack as the arms do: an attack that needs no gradient gets no model."""
    image_ids = np.arange(len(images)) if ids is None else ids
    labels = np.zeros(len(images), np.int64)
    return adversarial_images(
        Noise(draws=draws), None, judge, images, labels, epsilon=0.125, image_ids=image_ids, seed=seed
    )


class Judge:
    """Lets the images of these rows win at their n-th draw; remembers what it was shown."""

    def __init__(self, wins_at: dict[int, int]) -> None:
        self._wins_at = wins_at
        self.asked: list[list[int]] = []
        self.won: dict[int, Array] = {}

    def __call__(self, images: Array, rows: Array) -> Array:
        self.asked.append(rows.tolist())
        mask = np.array([self._wins_at.get(int(row)) == len(self.asked) for row in rows])
        self.won.update({int(row): image.copy() for row, image in zip(rows[mask], images[mask], strict=True)})
        return mask


@given(
    images=PIXELS,
    epsilon=st.floats(1e-4, 1.0),
    draws=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    judged=st.booleans(),
)
def test_every_image_stays_in_the_ball_and_is_an_image(
    images: Array, epsilon: float, draws: int, seed: int, judged: bool
) -> None:
    before = images.copy()
    judge = Judge({0: draws}) if judged else None
    ids = np.arange(len(images)) + 7
    found = Noise(draws=draws)(judge, images, ids, epsilon=epsilon, image_ids=ids, seed=seed)
    assert found.shape == images.shape
    assert found.dtype == np.float32
    assert np.abs(found - before).max() <= epsilon + 1e-6
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    np.testing.assert_array_equal(images, before)


def test_every_pixel_moves_by_the_radius_either_way() -> None:
    moves = attacked(grey(200)) - 0.5
    assert set(np.unique(moves)) == {-0.125, 0.125}
    assert abs(moves.mean()) < 0.01  # 3200 signs: ± 0.125 / sqrt(3200) = 0.002


@pytest.mark.parametrize("judged", [False, True])
def test_results_do_not_depend_on_how_images_are_batched(judged: bool) -> None:
    images = np.random.default_rng(0).random((11, 1, 4, 4), np.float32)
    ids = np.arange(100, 111)

    def judge_of(start: int) -> Any:
        if not judged:
            return None
        return lambda _, rows: (rows + start) % 3 == 0

    together = attacked(images, ids=ids, judge=judge_of(0))
    parts = [attacked(images[part], ids=ids[part], judge=judge_of(part.start)) for part in (slice(0, 4), slice(4, 11))]
    np.testing.assert_array_equal(np.concatenate(parts), together)


def test_draws_follow_the_seed_and_the_image_alone() -> None:
    images = grey(20)
    one = attacked(images)
    np.testing.assert_array_equal(attacked(images), one)
    assert len({image.tobytes() for image in one}) == 20
    assert not (attacked(images, seed=1) == one).all(axis=(1, 2, 3)).any()


def test_an_image_that_won_stays_as_it_was_and_the_attack_stops_when_all_have_won() -> None:
    images = grey(3)
    judge = Judge({0: 1, 1: 3, 2: 2})
    found = attacked(images, judge=judge)
    assert judge.asked == [[0, 1, 2], [1, 2], [1]]
    for row, image in judge.won.items():
        np.testing.assert_array_equal(found[row], image)


def test_an_image_that_never_wins_gets_every_draw_and_a_blind_attack_the_first() -> None:
    images = grey(2)
    judge = Judge({})
    found = attacked(images, draws=4, judge=judge)
    assert judge.asked == [[0, 1]] * 4
    blind = attacked(images, draws=4)
    np.testing.assert_array_equal(blind, attacked(images, draws=1))
    assert not np.array_equal(found, blind), "each draw is another corner"


def test_it_needs_no_gradient_and_says_so() -> None:
    assert not needs_gradient("noise")
    assert needs_gradient("pgd")
    with pytest.raises(InputError, match="unknown attack 'nois'; did you mean 'noise'"):
        needs_gradient("nois")


def test_settings_become_hyper_parameters() -> None:
    assert attack("noise", {"draws": 3}) == Noise(draws=3)


@pytest.mark.parametrize("settings", [{"draws": 0}, {"draws": -1}, {"draws": "many"}, {"draw": 3}], ids=str)
def test_settings_out_of_range_or_unknown_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"attack\.noise.*draws") as caught:
        attack("noise", settings)
    assert "\n" not in str(caught.value)
