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
from torch.nn.functional import cross_entropy

from contracts.errors import InputError
from harness.attacks.attack import Judge, Target
from harness.attacks.ball import project, random_start
from harness.attacks.gradient import cross_entropy_gradient
from harness.attacks.n_fgsm import NFGSM
from harness.attacks.pgd import PGD
from tests.harness.attacks.linear_models import labels_of, linear, pixels

SHAPE = (2, 3, 4)


def attacked(
    attack: PGD,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 0.1,
    ids: Tensor | None = None,
    judge: Judge | None = None,
) -> Tensor:
    ids = torch.arange(len(images)) if ids is None else ids
    return attack(Target(model, judge), images, labels, epsilon=epsilon, image_ids=ids, seed=3)


def losses(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return cross_entropy(model(images), labels, reduction="none")


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    n=st.integers(1, 4),
    epsilon=st.floats(1e-4, 1.0),
    steps=st.integers(1, 4),
    step_size=st.none() | st.floats(1e-4, 2.0),
    start=st.booleans(),
    restarts=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_the_result_lies_in_the_ball_and_is_an_image(
    shape: tuple[int, int, int],
    n: int,
    epsilon: float,
    steps: int,
    step_size: float | None,
    start: bool,
    restarts: int,
    seed: int,
) -> None:
    attack = PGD(steps=steps, step_size=step_size, random_start=start, restarts=restarts)
    images, model = pixels(n, shape, seed), linear(shape)
    given_images = images.clone()
    found = attacked(attack, model, images, labels_of(model, images), epsilon=epsilon)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert (found - images).abs().max() <= epsilon + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(images, given_images)


def test_one_step_on_a_linear_model_is_the_closed_form() -> None:
    model, images = linear(SHAPE), pixels(20, SHAPE)
    labels = labels_of(model, images)
    weight = model.get_parameter("1.weight").detach()
    probabilities = model(images).detach().softmax(1)
    gradient = (probabilities - torch.eye(3)[labels]) @ weight
    expected = (images + 0.03 * gradient.sign().reshape(images.shape)).clamp(0, 1)
    found = attacked(PGD(steps=1, step_size=0.03), model, images, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_many_steps_on_two_classes_reach_the_ball_s_worst_corner() -> None:
    model, images = linear(SHAPE, classes=2), pixels(20, SHAPE)
    labels = labels_of(model, images)
    weight = model.get_parameter("1.weight").detach()
    away = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    found = attacked(PGD(steps=12), model, images, labels)
    torch.testing.assert_close(found, (images + 0.1 * away).clamp(0, 1), rtol=0, atol=1e-6)


def test_the_default_step_is_a_tenth_of_epsilon() -> None:
    model, images = linear(SHAPE), pixels(5, SHAPE)
    labels = labels_of(model, images)
    assert torch.equal(
        attacked(PGD(steps=3), model, images, labels, epsilon=0.2),
        attacked(PGD(steps=3, step_size=0.02), model, images, labels, epsilon=0.2),
    )


def test_the_loss_grows_with_the_steps_where_it_is_convex() -> None:
    model, images = linear(SHAPE), pixels(20, SHAPE)
    labels = labels_of(model, images)
    seen = [losses(model, images, labels)]
    for steps in (1, 2, 4, 8, 12):
        seen.append(losses(model, attacked(PGD(steps=steps), model, images, labels), labels))
    for before, after in pairwise(seen):
        assert (after >= before - 1e-6).all()
    assert seen[-1].mean() > 1.5 * seen[0].mean()


@pytest.mark.parametrize("attack", [PGD(steps=3), PGD(steps=3, random_start=True, restarts=3)], ids=str)
def test_results_do_not_depend_on_how_images_are_batched(attack: PGD) -> None:
    model, images = linear(SHAPE), pixels(11, SHAPE)
    labels, ids = labels_of(model, images), torch.arange(100, 111)

    def judge_of(offset: int) -> Judge:
        return lambda adversarial, rows: model(adversarial).argmax(1) != labels[rows + offset]

    for judged in (False, True):
        together = attacked(attack, model, images, labels, ids=ids, judge=judge_of(0) if judged else None)
        halves = [
            attacked(
                attack, model, images[part], labels[part], ids=ids[part], judge=judge_of(start) if judged else None
            )
            for start, part in ((0, slice(0, 4)), (4, slice(4, 11)))
        ]
        assert torch.equal(torch.cat(halves), together)


def test_random_starts_depend_on_seed_and_image_alone_and_fill_the_ball() -> None:
    images = torch.full((50, 1, 8, 8), 0.5)
    ids = torch.arange(50)
    one = random_start(images, 0.1, ids, seed=0)
    assert torch.equal(random_start(images.flip(0), 0.1, ids.flip(0), seed=0), one.flip(0))
    assert not torch.equal(random_start(images, 0.1, ids, seed=1), one)
    assert len({tuple(image.flatten().tolist()) for image in one}) == 50
    offsets = (one - images).flatten()
    assert offsets.abs().max() <= 0.1 + 1e-7
    assert offsets.mean().abs() < 0.005
    assert offsets.std() == pytest.approx(0.2 / math.sqrt(12), rel=0.03)
    other = (random_start(images, 0.1, ids, seed=1) - images).flatten()
    assert torch.corrcoef(torch.stack([offsets, other]))[0, 1].abs() < 0.06


def test_projection_is_the_nearest_allowed_point() -> None:
    images = torch.tensor([0.05, 0.5, 0.5, 0.95])
    moved = project(torch.tensor([-1.0, 0.55, 2.0, 2.0]), images, 0.1)
    torch.testing.assert_close(moved, torch.tensor([0.0, 0.55, 0.6, 1.0]))


def test_an_image_that_won_stays_as_it_was_when_it_won() -> None:
    model, images = linear(SHAPE), pixels(12, SHAPE)
    labels = labels_of(model, images)
    asked: list[tuple[Tensor, Tensor]] = []
    winners: dict[int, Tensor] = {}

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        asked.append((adversarial.clone(), rows.clone()))
        won = rows % 3 == len(asked) % 3
        winners.update({int(row): image.clone() for row, image in zip(rows[won], adversarial[won], strict=True)})
        return won

    found = attacked(PGD(steps=10), model, images, labels, judge=judge)
    assert len(asked) == 3, "after three iterates every image has won"
    assert [len(rows) for _, rows in asked] == [12, 8, 4]
    for row, image in winners.items():
        assert torch.equal(found[row], image)


def test_an_image_that_never_wins_gets_every_step() -> None:
    model, images = linear(SHAPE), pixels(4, SHAPE)
    labels = labels_of(model, images)
    asked: list[int] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        asked.append(len(rows))
        return torch.zeros(len(rows), dtype=torch.bool)

    found = attacked(PGD(steps=5), model, images, labels, judge=judge)
    assert asked == [4] * 5
    assert torch.equal(found, attacked(PGD(steps=5), model, images, labels))


class Bumps(nn.Module):
    """Two classes whose margin has several maxima, so that restarts end at different ones."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        height = torch.sin(60 * images).sum((1, 2, 3)) + 3 * images.sum((1, 2, 3))
        return torch.stack([-height, height], 1)


@pytest.mark.parametrize("steps", [1, 5])
def test_restarts_keep_the_best(steps: int) -> None:
    model, images, labels = Bumps(), pixels(30, SHAPE), torch.zeros(30, dtype=torch.int64)
    ids = torch.arange(30)
    single = [
        PGD(steps=steps, random_start=True)(Target(model), images, labels, epsilon=0.1, image_ids=ids, seed=3 + restart)
        for restart in range(4)
    ]
    reached = torch.stack([losses(model, found, labels) for found in single])
    together = attacked(PGD(steps=steps, random_start=True, restarts=4), model, images, labels)
    torch.testing.assert_close(losses(model, together, labels), reached.amax(0))
    assert len(set(reached.argmax(0).tolist())) > 1, "the case must have different best restarts"


def test_restarts_leave_images_alone_that_won() -> None:
    model, images, labels = Bumps(), pixels(6, SHAPE), torch.zeros(6, dtype=torch.int64)
    asked: list[list[int]] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        asked.append(rows.tolist())
        return rows < 4

    attacked(PGD(steps=2, restarts=2), model, images, labels, judge=judge)
    assert asked == [[0, 1, 2, 3, 4, 5], [4, 5], [4, 5], [4, 5]]


def test_gradients_do_not_mix_images_and_leave_parameters_without_one() -> None:
    model, images = linear(SHAPE), pixels(6, SHAPE)
    labels = labels_of(model, images)
    with torch.no_grad():
        together = cross_entropy_gradient(model, images, labels)
    for row in range(6):
        alone = cross_entropy_gradient(model, images[row : row + 1], labels[row : row + 1])
        torch.testing.assert_close(together[row], alone[0])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not images.requires_grad


def test_n_fgsm_is_noise_and_one_step() -> None:
    model, images = linear(SHAPE, classes=2), pixels(50, SHAPE)
    labels = labels_of(model, images)
    torch.manual_seed(0)
    found = NFGSM()(model, images, labels, epsilon=0.1)
    torch.manual_seed(0)
    noisy = images + torch.empty_like(images).uniform_(-0.2, 0.2)
    weight = model.get_parameter("1.weight").detach()
    away = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    torch.testing.assert_close(found, noisy + 0.1 * away)


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
