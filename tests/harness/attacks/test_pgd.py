from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from contracts.errors import InputError
from harness.attacks.ball import NORMS, Norm
from harness.attacks.differentiable import Differentiable
from harness.attacks.pgd import PGD
from harness.attacks.target import Loop, Target, WhiteBox
from tests.harness.attacks.attacking import TorchVictim, Watched, attacked, blind
from tests.harness.attacks.linear_models import (
    SHAPE,
    OneByOne,
    Waves,
    away_from,
    greys,
    labels_of,
    linear,
    losses,
    pixels,
    unit,
)


@settings(max_examples=40, deadline=None)
@given(
    norm=st.sampled_from(NORMS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    n=st.integers(1, 4),
    epsilon=st.floats(1e-4, 1.0),
    steps=st.integers(1, 4),
    step_size=st.none() | st.floats(1e-4, 2.0),
    start=st.booleans(),
    restarts=st.integers(1, 2),
    judged=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_whatever_its_settings_every_point_lies_in_the_ball_and_is_an_image(
    norm: Norm,
    shape: tuple[int, int, int],
    n: int,
    epsilon: float,
    steps: int,
    step_size: float | None,
    start: bool,
    restarts: int,
    judged: bool,
    seed: int,
) -> None:
    attack = PGD(steps=steps, step_size=step_size, random_start=start, restarts=restarts)
    images, model = pixels(n, shape, seed), linear(shape)
    target = Watched(model, lambda rows, look: (rows + look) % (3 if judged else 1000) == 0)
    before = images.clone()
    found = attacked(attack, target, images, labels_of(model, images), epsilon=epsilon, norm=norm)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.equal(images, before)
    for rows, shown in [(list(range(n)), found), *zip(target.rows, target.shown, strict=True)]:
        change = (shown.double() - before[rows].double()).flatten(1)
        assert change.norm(dim=1, p=2 if norm == "l2" else math.inf).max() <= epsilon + 1e-6
        assert shown.min() >= 0
        assert shown.max() <= 1


@pytest.mark.parametrize("norm", NORMS)
def test_one_step_on_a_linear_model_is_the_closed_form(norm: Norm) -> None:
    model, images = linear(SHAPE), pixels(20)
    labels = labels_of(model, images)
    weight = model.get_parameter("1.weight").detach()
    probabilities = model(images).detach().softmax(1)
    gradient = ((probabilities - torch.eye(3)[labels]) @ weight).reshape(images.shape)
    direction = gradient.sign() if norm == "linf" else unit(gradient)
    found = attacked(PGD(steps=1, step_size=0.03), model, images, labels, norm=norm)
    torch.testing.assert_close(found, (images + 0.03 * direction).clamp(0, 1), rtol=0, atol=1e-6)


def test_many_steps_on_two_classes_reach_the_ball_s_worst_corner() -> None:
    model, images = linear(SHAPE, classes=2), pixels(20)
    labels = labels_of(model, images)
    corner = (images + 0.1 * away_from(labels, model, 1 - labels, images).sign()).clamp(0, 1)
    found = attacked(PGD(steps=12), blind(model), images, labels)
    torch.testing.assert_close(found, corner, rtol=0, atol=1e-6)


@pytest.mark.parametrize("random_start", [False, True])
def test_in_l2_many_steps_on_two_classes_reach_the_end_of_the_weights_direction(random_start: bool) -> None:
    model, images = linear(SHAPE, classes=2), greys(20)
    labels = labels_of(model, images)
    end = images + 0.3 * unit(away_from(labels, model, 1 - labels, images))
    way = PGD(steps=60, step_size=0.1, random_start=random_start)
    found = attacked(way, blind(model), images, labels, epsilon=0.3, norm="l2")
    torch.testing.assert_close(found, end, rtol=0, atol=1e-4 if random_start else 1e-6)


def test_the_default_step_is_a_tenth_of_epsilon() -> None:
    model, images = linear(SHAPE), pixels(5)
    labels = labels_of(model, images)
    assert torch.equal(
        attacked(PGD(steps=3), blind(model), images, labels, epsilon=0.2),
        attacked(PGD(steps=3, step_size=0.02), blind(model), images, labels, epsilon=0.2),
    )


def test_the_loss_grows_with_the_steps_where_it_is_convex() -> None:
    model, images = linear(SHAPE), pixels(20)
    labels = labels_of(model, images)
    seen = [losses(model, images, labels)]
    for steps in (1, 2, 4, 8, 12):
        seen.append(losses(model, attacked(PGD(steps=steps), blind(model), images, labels), labels))
    for before, after in pairwise(seen):
        assert (after >= before - 1e-6).all()
    assert seen[-1].mean() > 1.5 * seen[0].mean()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", [PGD(steps=3), PGD(steps=3, random_start=True, restarts=3)], ids=str)
def test_results_do_not_depend_on_how_images_are_batched(attack: PGD, norm: Norm) -> None:
    model, images = OneByOne(Waves()), pixels(11)
    labels, ids = labels_of(model, images), torch.arange(100, 111)
    wrapped = Differentiable(model)
    targets: list[Target] = [WhiteBox(wrapped), blind(model), Loop(wrapped, TorchVictim(model))]
    for target in targets:
        together = attacked(attack, target, images, labels, norm=norm, ids=ids)
        parts = [
            attacked(attack, target, images[part], labels[part], norm=norm, ids=ids[part])
            for part in (slice(0, 4), slice(4, 11))
        ]
        assert torch.equal(torch.cat(parts), together)


def test_an_image_that_won_stays_as_it_was_when_it_won() -> None:
    model, images = linear(SHAPE), pixels(12)
    target = Watched(model, lambda rows, look: rows % 3 == look % 3)
    found = attacked(PGD(steps=10, restarts=2), target, images, labels_of(model, images))
    assert [len(rows) for rows in target.rows] == [12, 8, 4], "after three iterates every image has won"
    assert torch.equal(target.shown[0], images), "the start counts"
    for row, image in target.winners.items():
        assert torch.equal(found[row], image)


def test_an_image_that_never_wins_gets_every_step() -> None:
    model, images = linear(SHAPE), pixels(4)
    labels = labels_of(model, images)
    target = Watched(model)
    found = attacked(PGD(steps=5), target, images, labels)
    assert [len(rows) for rows in target.rows] == [4] * 6
    assert torch.equal(found, attacked(PGD(steps=5), blind(model), images, labels))
    assert torch.equal(found, target.shown[-1])


def test_the_model_itself_ends_the_attack_of_an_image_that_it_gets_wrong_at_any_point() -> None:
    model, images = Waves(), pixels(40)
    labels = labels_of(model, images)
    labels[:5] = (labels[:5] + 1) % 3
    path = Watched(model)
    way = PGD(steps=8, step_size=0.03)
    attacked(way, path, images, labels, epsilon=0.02)
    wrong = torch.stack([labels_of(model, shown) != labels for shown in path.shown])
    first = torch.where(wrong.any(0), wrong.int().argmax(0), 8)
    found = attacked(way, model, images, labels, epsilon=0.02)
    torch.testing.assert_close(found, torch.stack(path.shown)[first, torch.arange(40)])
    assert torch.equal(found[:5], images[:5]), "the start included"
    assert len(set(first.tolist())) > 3, "the case must have images that fall sooner and later"
    assert (wrong.any(0) & ~wrong[-1]).any(), "and some that would not stay wrong"


class Bumps(nn.Module):
    """Two classes whose margin has several maxima, so that restarts end at different ones."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        height = torch.sin(60 * images).sum((1, 2, 3)) + 3 * images.sum((1, 2, 3))
        return torch.stack([-height, height], 1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 5])
def test_restarts_keep_the_best(steps: int, norm: Norm) -> None:
    model, images, labels = Bumps(), pixels(30), torch.zeros(30, dtype=torch.int64)
    target = Watched(model)
    together = attacked(PGD(steps=steps, random_start=True, restarts=4), target, images, labels, norm=norm)
    ends = target.shown[steps :: steps + 1]
    assert len(ends) == 4
    reached = torch.stack([losses(model, end, labels) for end in ends])
    assert torch.equal(together, torch.stack(ends)[reached.argmax(0), torch.arange(30)])
    assert len(set(reached.argmax(0).tolist())) > 1, "the case must have different best restarts"


def test_restarts_leave_images_alone_that_won() -> None:
    model, images, labels = Bumps(), pixels(6), torch.zeros(6, dtype=torch.int64)
    target = Watched(model, lambda rows, look: rows < 4)
    attacked(PGD(steps=2, restarts=2), target, images, labels)
    assert target.rows == [[0, 1, 2, 3, 4, 5]] + 5 * [[4, 5]]


def test_no_loss_that_is_not_a_number_is_the_best() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            height = images.sum((1, 2, 3))
            return torch.stack([-height, torch.where(height > 0.5, torch.nan, height)], 1)

    model, images, labels = Broken(), torch.full((20, 1, 1, 1), 0.5), torch.zeros(20, dtype=torch.int64)
    found = attacked(PGD(steps=1, step_size=0.001, random_start=True, restarts=8), blind(model), images, labels)
    assert (found <= 0.5).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"restarts": 0},
        {"step_size": 0.0},
        {"step_size": -1.0},
        {"step_size": math.nan},
        {"step_size": math.inf},
    ],
    ids=str,
)
def test_hyper_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"attack\.pgd: .*{next(iter(wrong))}.* got "):
        PGD(**wrong)
