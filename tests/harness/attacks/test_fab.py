from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from contracts.errors import InputError
from harness.attacks.ball import NORMS, Ball, Norm
from harness.attacks.differentiable import Differentiable, Loss, Model
from harness.attacks.fab import FABT
from harness.attacks.registry import attack
from harness.attacks.target import Blind, Loop, Replay, WhiteBox
from tests.harness.attacks.attacking import TorchVictim, Watched, attacked
from tests.harness.attacks.digits_net import trained_on_digits
from tests.harness.attacks.linear_models import SHAPE, OneByOne, Waves, away_from, greys, labels_of, linear, pixels

FAR = {"linf": 1.0, "l2": 100.0}
NEAR = 1.006  # of the least distance: what overshooting by 5 % and turning back by 10 % leave of it on a linear model


class Shown:
    """A model that keeps what it is asked about."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits."""
        self.images.append(images.detach().clone())
        return self._model(images)


def near_grey(n: int) -> Tensor:
    """Return images whose distance from the boundaries of `linear` is less than that from the box's faces."""
    return 0.5 + 0.2 * (greys(n) - 0.5)


def distances(found: Tensor, images: Tensor, norm: Norm) -> Tensor:
    return Ball(norm, 1.0).distances(found, images)


def least(model: nn.Module, images: Tensor, labels: Tensor, norm: Norm, shift: float = 0.0) -> Tensor:
    """Return how far a linear model's boundaries are from images that the box does not hold, shape (n, classes).

    They are where the label's logit, more `shift`, meets another one; infinite for the label itself.
    """
    with torch.no_grad():
        logits = model(images)
    found = []
    for other in range(logits.shape[1]):
        normal = away_from(labels, model, torch.full_like(labels, other), images).flatten(1)
        dual = normal.abs().sum(1) if norm == "linf" else normal.norm(dim=1)
        lead = logits.gather(1, labels[:, None])[:, 0] - logits[:, other] + shift
        found.append((lead / dual).where(labels != other, torch.inf))
    return torch.stack(found, dim=1)


@settings(max_examples=40, deadline=None)
@given(
    norm=st.sampled_from(NORMS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    classes=st.integers(2, 5),
    n=st.integers(1, 4),
    epsilon=st.floats(1e-4, 1.0),
    steps=st.integers(1, 8),
    restarts=st.integers(1, 2),
    waves=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_results_lie_in_the_ball_and_all_points_are_images(
    norm: Norm,
    shape: tuple[int, int, int],
    classes: int,
    n: int,
    epsilon: float,
    steps: int,
    restarts: int,
    waves: bool,
    seed: int,
) -> None:
    model = Waves() if waves else linear(shape, classes)
    images = pixels(n, shape, seed)
    before, labels, shown = images.clone(), labels_of(model, images), Shown(model)
    found = attacked(FABT(steps=steps, restarts=restarts), shown, images, labels, epsilon=epsilon, norm=norm)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert distances(found, before, norm).max() <= epsilon + 1e-6
    assert torch.equal(images, before)
    for each in (found, *shown.images):
        assert each.min() >= 0
        assert each.max() <= 1


@pytest.mark.parametrize("half", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_on_a_linear_model_it_finds_the_nearest_boundary(norm: Norm, half: torch.dtype | None) -> None:
    model, images = linear(SHAPE, 4), near_grey(8)
    labels = labels_of(model, images)
    target = WhiteBox(Differentiable(model, half))
    nearest = least(model, images, labels, norm).amin(1)
    found = attacked(FABT(steps=20), target, images, labels, epsilon=FAR[norm], norm=norm)
    assert (labels_of(model, found) != labels).all()
    reached = distances(found, images, norm) / nearest
    assert reached.min() >= 1
    # A success ends an image's walks: the first target need not be the nearest boundary, but never is far from it here.
    assert reached.median() <= (NEAR if half is None else 1.02)


@pytest.mark.parametrize("norm", NORMS)
def test_with_a_success_in_reach_of_the_last_target_alone_that_one_is_found(norm: Norm) -> None:
    model, images = linear(SHAPE, 4), near_grey(12)
    labels = labels_of(model, images)
    boundaries = least(model, images, labels, norm)
    nearest = boundaries.amin(1)
    for row in range(len(images)):
        epsilon = float(nearest[row])
        one, label = images[row : row + 1], labels[row : row + 1]
        for factor, fooled in ((1.01, True), (0.99, False)):
            found = attacked(FABT(steps=6), model, one, label, epsilon=factor * epsilon, norm=norm)
            assert (labels_of(model, found) != label).item() is fooled
            assert distances(found, one, norm) <= factor * epsilon * (1 + 1e-6)


@pytest.mark.parametrize("targets", [2, 9])
def test_targets_are_the_wrong_classes_of_the_largest_clean_logits(targets: int) -> None:
    model, images = linear(SHAPE, 5), near_grey(20)
    labels = labels_of(model, images)
    walked: list[Tensor] = []

    class Leads(Blind):
        def gradient(self, images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
            walked.append(
                labels + loss(torch.arange(5).expand(len(images), 5))
            )  # the lead of t over y of these is t - y
            return super().gradient(images, loss)

    attacked(FABT(steps=3, targets=targets), Leads(Differentiable(model)), images, labels)
    ranked = model(images).argsort(descending=True)
    assert [each.tolist() for each in walked[::3]] == ranked.T[1 : 1 + targets].tolist()


def test_what_fools_outside_of_the_ball_does_not_count_and_is_shown_all_the_same() -> None:
    model, images = linear(SHAPE, 2), near_grey(8)
    labels = labels_of(model, images)
    nearest = least(model, images, labels, "linf").amin(1)
    epsilon = float(nearest.min()) / 2
    shown: dict[int, float] = {}

    class Recording(WhiteBox):
        def look(
            self, images_: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
        ) -> tuple[Tensor, Tensor]:
            looked, won = super().look(images_, labels, rows, logits, last=last)
            for row, distance in zip(rows[won], distances(images_, images[rows], "linf")[won], strict=True):
                shown[int(row)] = min(shown.get(int(row), math.inf), float(distance))
            return looked, won

    found = attacked(FABT(steps=10), Recording(Differentiable(model)), images, labels, epsilon=epsilon)
    assert (labels_of(model, found) == labels).all()
    assert (torch.tensor([shown[row] for row in range(8)]) <= nearest * NEAR).all()
    assert distances(found, images, "linf").numpy() == pytest.approx(epsilon, rel=1e-5)
    ends = model(found).gather(1, labels[:, None]) - model(images).gather(1, labels[:, None])
    assert (ends < 0).all()


def test_a_walk_goes_on_after_a_success_but_no_other_follows() -> None:
    model, images = linear(SHAPE, 4), near_grey(8)
    labels = labels_of(model, images)
    target = Watched(model, lambda rows, look: (rows < 5) & (look == 3))
    attacked(FABT(steps=7), target, images, labels, epsilon=1.0)
    everyone, others = list(range(8)), list(range(5, 8))
    assert target.rows[:8] == [everyone] * 8
    assert set(map(tuple, target.rows[8:])) == {tuple(others)}
    assert len(target.rows) == 1 + 3 * 7 + 3  # the images, the walks, and the end of each


def test_what_is_fooled_from_the_start_is_not_walked() -> None:
    model, images = linear(SHAPE, 3), greys(6)
    labels = labels_of(model, images)
    labels[2] = (labels[2] + 1) % 3
    target = Watched(model, lambda rows, look: (rows == 2) & (look == 1))
    found = attacked(FABT(steps=3), target, images, labels)
    assert torch.equal(found[2], images[2])
    assert all(2 not in rows for rows in target.rows[1:])


@pytest.mark.parametrize("norm", NORMS)
def test_results_do_not_depend_on_batches(norm: Norm) -> None:
    model, images = OneByOne(Waves()), greys(5)
    labels = labels_of(model, images)
    way = FABT(steps=8, restarts=2)
    ids = torch.arange(5) + 70
    together = attacked(way, model, images, labels, norm=norm, ids=ids)
    alone = [
        attacked(way, model, images[row : row + 1], labels[row : row + 1], norm=norm, ids=ids[row : row + 1])
        for row in range(5)
    ]
    assert torch.allclose(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_restarts_begin_half_of_epsilon_away_and_walks_at_the_image(norm: Norm) -> None:
    images = greys(3)
    labels = torch.zeros(3, dtype=torch.int64)
    shown = Shown(lambda images: torch.stack([1 + images.sum((1, 2, 3)) * 0, images.sum((1, 2, 3)) * 0], 1))
    attacked(FABT(steps=1, restarts=3), shown, images, labels, epsilon=0.1, norm=norm)
    asked = shown.images[
        3:
    ]  # behind the check, the clean look and the targets': a gradient and two looks for each walk
    starts = [distances(each, images, norm) for each in asked[::3]]
    assert len(starts) == 3
    assert starts[0].max() == 0
    assert torch.cat(starts[1:]).numpy() == pytest.approx(0.05, rel=1e-4)
    assert (asked[3] - asked[6]).abs().max() > 0.01


def test_a_constant_model_leaves_images_as_they_are() -> None:
    images = pixels(3)
    labels = torch.zeros(3, dtype=torch.int64)
    flat = attacked(FABT(steps=4), lambda batch: batch.flatten(1)[:, :3] * 0 - torch.arange(3.0), images, labels)
    assert torch.equal(flat, images)


def test_logits_that_are_not_numbers_do_not_get_into_the_images() -> None:
    model = linear(SHAPE, 3)
    images, shown = greys(4), Shown(lambda batch: model(batch) / (batch > 0.1).all())  # x / 0
    found = attacked(FABT(steps=6), shown, images, labels_of(model, images), epsilon=1.0)
    assert all(each.isfinite().all() for each in (found, *shown.images))


def test_rounded_gradients_find_as_near_points_of_a_net() -> None:
    model, images, labels = trained_on_digits()
    images, labels = images[:30], labels[:30]
    means = []
    for half in (None, torch.bfloat16):
        target = WhiteBox(Differentiable(model, half))
        found = attacked(FABT(steps=15, targets=1), target, images, labels, epsilon=1.0)
        assert (labels_of(model, found) != labels).all()
        means.append(float(distances(found, images, "linf").mean()))
    assert means[1] <= 1.02 * means[0]


@pytest.mark.parametrize("half", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shift", [-0.1, 0.5])
@pytest.mark.parametrize("norm", NORMS)
def test_in_the_loop_it_walks_along_the_victims_boundary(norm: Norm, shift: float, half: torch.dtype | None) -> None:
    model, images = linear(SHAPE, 2), near_grey(12)
    labels = labels_of(model, images)
    assert labels.tolist() == labels[:1].tolist() * 12
    favour = shift * nn.functional.one_hot(labels[0], 2)
    nearest = least(model, images, labels, norm, shift).amin(1)
    assert nearest.min() > 0
    target = Loop(Differentiable(model, half), TorchVictim(lambda batch: model(batch) + favour))
    found = attacked(FABT(steps=20), target, images, labels, epsilon=FAR[norm], norm=norm)
    assert ((model(found) + favour).argmax(1) != labels).all()
    reached = distances(found, images, norm) / nearest
    assert 1 - 1e-5 <= reached.min() <= reached.max() <= 1.01


def test_a_replayed_victim_sees_every_so_many_points_and_the_nearest_inside_the_ball() -> None:
    model, images = linear(SHAPE, 2), near_grey(4)
    labels = labels_of(model, images)
    epsilon = float(least(model, images, labels, "linf").amin(1).amax()) * 1.02
    stubborn = Shown(lambda batch: nn.functional.one_hot(labels, 2).float())
    target = Replay(Differentiable(model), TorchVictim(stubborn), every=5)
    found = attacked(FABT(steps=20), target, images, labels, epsilon=epsilon)
    assert len(stubborn.images) == 4 + 1  # every fifth look and the end
    assert torch.equal(stubborn.images[-1], found)
    assert (labels_of(model, found) != labels).all()

    target = Replay(Differentiable(model, torch.bfloat16), TorchVictim(model), every=1000)
    found = attacked(FABT(steps=20), target, images, labels, epsilon=epsilon)
    assert (labels_of(model, found) != labels).all()


def test_what_a_replayed_victim_sees_of_an_image_does_not_depend_on_the_others() -> None:
    images = torch.stack([torch.full((1, 2, 2), grey) for grey in (0.2, 0.8)])

    def model(shown: Tensor) -> Tensor:
        """Bright images cross to class 1 where they get darker, dark ones have no way there."""
        brightness = shown.mean((1, 2, 3))
        return torch.stack([1 + 0 * brightness, 2 * (0.9 - brightness) * (brightness > 0.3)], 1)

    def shown(rows: list[int]) -> int:
        victim = TorchVictim(lambda batch: torch.tensor([1.0, 0.0]).expand(len(batch), 2))
        target = Replay(Differentiable(model), victim, every=5)
        attacked(FABT(steps=3, restarts=3), target, images[rows], torch.zeros(len(rows), dtype=torch.int64))
        return sum(0 in asked for asked in victim.rows)

    assert model(images).argmax(1).tolist() == [0, 0]
    assert shown([0]) == shown([0, 1]) > 0


def test_more_targets_than_wrong_classes_are_all_of_them() -> None:
    model, images = linear(SHAPE, 3), greys(4)
    labels = labels_of(model, images)
    found = [attacked(FABT(steps=4, targets=number), model, images, labels, epsilon=0.02) for number in (2, 9)]
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("settings_", "complaint"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"restarts": 0}, "restarts must be at least 1, got 0"),
        ({"targets": -1}, "targets must be at least 1, got -1"),
        ({"alpha_max": 1.1}, "alpha_max must be between 0 and 1, got 1.1"),
        ({"alpha_max": math.nan}, "alpha_max must be between 0 and 1, got nan"),
        ({"eta": 0.99}, "eta must be finite and at least 1, got 0.99"),
        ({"eta": math.inf}, "eta must be finite and at least 1, got inf"),
        ({"beta": 0.0}, "beta must be above 0 and below 1, got 0.0"),
        ({"beta": 1.0}, "beta must be above 0 and below 1, got 1.0"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings_: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=f"attack.fab-t: {complaint}"):
        attack("fab-t", settings_)


def test_defaults_are_the_published() -> None:
    assert attack("fab-t", {}) == FABT(steps=100, restarts=1, targets=9, alpha_max=0.1, eta=1.05, beta=0.9)
