"""Models by themselves, judged through their own gradients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from harness.attacks.attack import Attack, BlackBox
from harness.attacks.black_box.noise import Noise
from harness.attacks.pgd import PGD
from harness.attacks.run import adversarial_images
from harness.data.dataset import Split
from harness.robustness.decisions import BATCH
from harness.robustness.model_accuracy import Array, Attacked, clean_and_robust

from .test_arms import Brightness
from .tiny_engines import grey


def by(attack: Attack | BlackBox) -> Attacked:
    return lambda model, images, labels, ids: adversarial_images(
        attack, model, images, labels, epsilon=0.1, norm="linf", image_ids=ids, seed=0
    )


def shares(split: Split, attack: Attack | BlackBox) -> tuple[float, float]:
    clean, robust = clean_and_robust(Brightness().eval(), split, by(attack))
    assert clean.shape == robust.shape == (len(split),)
    assert clean.dtype == robust.dtype == np.bool_
    assert not (robust & ~clean).any()
    return float(clean.mean()), float(robust.mean())


def test_what_lies_within_epsilon_of_the_border_is_not_robust() -> None:
    split = grey([0.2, 0.3, 0.42, 0.48, 0.52, 0.58, 0.7, 0.8])
    clean, robust = clean_and_robust(Brightness().eval(), split, by(PGD(steps=10)))
    assert clean.all()
    assert robust.tolist() == [True, True, False, False, False, False, True, True]


def test_what_is_wrong_when_clean_is_wrong_under_attack() -> None:
    split = grey([0.2, 0.48, 0.9, 0.52])
    split.labels[[1, 2]] = 1 - split.labels[[1, 2]]  # the attack could turn neither image into the right class
    clean, robust = clean_and_robust(Brightness().eval(), split, by(PGD(steps=10)))
    assert clean.tolist() == [True, False, False, True]
    assert robust.tolist() == [True, False, False, False]


def test_batches_do_not_matter() -> None:
    values = np.linspace(0.003, 1, 2 * BATCH + 3)
    moved: list[float] = []
    clean, robust = clean_and_robust(Brightness().eval(), grey(values.tolist()), by(PGD(steps=10)), moved.append)
    assert clean.all()
    assert (robust == (np.abs(values - 0.5) > 0.1)).all()
    assert sum(moved) == len(values)


def test_the_attack_is_given_places_in_the_split() -> None:
    seen: list[int] = []

    def attacked(model: object, images: Array, labels: Array, ids: Array) -> Array:
        seen.extend(ids.tolist())
        return images

    split = grey([0.2] * (BATCH + 3))
    split.labels[4] = 1
    moved: list[float] = []
    clean_and_robust(Brightness().eval(), split, attacked, moved.append)
    assert seen == [0, 1, 2, 3, *range(5, BATCH + 3)]
    assert sum(moved) == len(split)


def test_a_black_box_attack_asks_the_model_itself() -> None:
    # One draw of four signs moves the mean by at least 0.05 in the right direction with probability 5/16.
    split = grey([0.49] * 200 + [0.2] * 200)
    assert shares(split, Noise(draws=1))[1] == pytest.approx(0.5 + 11 / 16 / 2, abs=0.05)
    clean, robust = shares(split, Noise(draws=50))
    assert (clean, robust) == (1.0, 0.5), "one of fifty draws does"


def test_nothing_that_is_right_is_nothing_that_is_robust() -> None:
    split = grey([0.1, 0.9])
    split.labels[:] = 1 - split.labels
    assert shares(split, PGD(steps=2)) == (0.0, 0.0)
