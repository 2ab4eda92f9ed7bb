from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.attacks.apgd import APGD, APGDDLR, APGDT
from harness.attacks.attack import Attack
from harness.attacks.ball import NORMS, Norm
from harness.attacks.differentiable import Differentiable
from harness.attacks.fgsm import FGSM
from harness.attacks.pgd import PGD
from harness.attacks.registry import attack, needs_gradient
from harness.attacks.target import Loop, Target, WhiteBox
from tests.harness.attacks.attacking import TorchVictim, Watched, attacked, blind
from tests.harness.attacks.digits_net import trained_on_digits
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

KINDS: tuple[type[APGD], ...] = (APGD, APGDDLR, APGDT)


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(NORMS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    classes=st.integers(2, 6),
    n=st.integers(1, 4),
    epsilon=st.floats(1e-4, 1.0),
    steps=st.integers(1, 12),
    restarts=st.integers(1, 2),
    judged=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_whatever_its_settings_every_point_lies_in_the_ball_and_is_an_image(
    kind: type[APGD],
    norm: Norm,
    shape: tuple[int, int, int],
    classes: int,
    n: int,
    epsilon: float,
    steps: int,
    restarts: int,
    judged: bool,
    seed: int,
) -> None:
    images, model = pixels(n, shape, seed), linear(shape, classes)
    before = images.clone()
    target = Watched(model, lambda rows, look: (rows + look) % (5 if judged else 1000) == 0)
    way = kind(steps=steps, restarts=restarts)
    found = attacked(way, target, images, labels_of(model, images), epsilon=epsilon, norm=norm)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.equal(images, before)
    for rows, shown in [(list(range(n)), found), *zip(target.rows, target.shown, strict=True)]:
        change = (shown.double() - before[rows].double()).flatten(1)
        assert change.norm(dim=1, p=2 if norm == "l2" else math.inf).max() <= epsilon + 1e-6
        assert shown.min() >= 0
        assert shown.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_on_two_classes_of_a_linear_model_it_reaches_the_ball_s_worst_corner(kind: type[APGD]) -> None:
    model, images = linear(SHAPE, classes=2), pixels(20)
    labels = labels_of(model, images)
    corner = (images + 0.1 * away_from(labels, model, 1 - labels, images).sign()).clamp(0, 1)
    found = attacked(kind(steps=10), blind(model), images, labels)
    torch.testing.assert_close(found, corner, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_in_l2_it_reaches_the_end_of_the_weights_direction(kind: type[APGD]) -> None:
    model, images = linear(SHAPE, classes=2), greys(20)
    labels = labels_of(model, images)
    end = images + 0.3 * unit(away_from(labels, model, 1 - labels, images))
    found = attacked(kind(steps=60), blind(model), images, labels, epsilon=0.3, norm="l2")
    torch.testing.assert_close(found, end, rtol=0, atol=3e-3)
    reached, best = losses(model, found, labels), losses(model, end, labels)
    torch.testing.assert_close(reached, best, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 0.25)])
@pytest.mark.parametrize("classes", [3, 5])
def test_the_targets_between_them_reach_the_worst_end_of_every_class(classes: int, norm: Norm, epsilon: float) -> None:
    # A linear model: the smallest margin to any class is reached at that class's own end of the ball.
    model, images = linear(SHAPE, classes=classes), greys(40)
    labels = labels_of(model, images)
    fooled = torch.zeros(40, dtype=torch.bool)
    for other in range(classes):
        away = away_from(labels, model, torch.full((40,), other), images)
        step = away.sign() if norm == "linf" else unit(away).nan_to_num()
        logits = model(images + epsilon * step)
        fooled |= (logits[:, other] > logits[range(40), labels]) & (labels != other)
    found = attacked(APGDT(steps=30), model, images, labels, epsilon=epsilon, norm=norm)
    assert torch.equal(labels_of(model, found) != labels, fooled)
    assert 0.1 < fooled.float().mean() < 0.9, "the case must have both kinds of images"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("way", [APGD(steps=12), APGDDLR(steps=12, restarts=2), APGDT(steps=12)], ids=str)
def test_one_by_one_is_as_all_together(way: APGD, norm: Norm) -> None:
    model, images = OneByOne(Waves()), pixels(9)
    labels, ids = labels_of(model, images), torch.arange(100, 109)
    epsilon = 0.015 if norm == "linf" else 0.05
    wrapped = Differentiable(model)
    targets: list[Target] = [WhiteBox(wrapped), Loop(wrapped, TorchVictim(model))]
    for target in targets:
        together = attacked(way, target, images, labels, epsilon=epsilon, norm=norm, ids=ids)
        for size in (1, 4):
            parts = [
                attacked(way, target, images[part], labels[part], epsilon=epsilon, norm=norm, ids=ids[part])
                for part in (slice(start, start + size) for start in range(0, 9, size))
            ]
            assert torch.equal(torch.cat(parts), together)
        wrong = labels_of(model, together) != labels
        assert wrong.any(), "the case must have images that fall"
        assert not wrong.all(), "and some that stand"


def test_draws_follow_the_seed_and_the_image_alone() -> None:
    model, images = Waves(), torch.full((6, *SHAPE), 0.5)
    labels, target = labels_of(model, images), blind(model)
    one = attacked(APGD(steps=2), target, images, labels)
    assert torch.equal(attacked(APGD(steps=2), target, images, labels), one)
    assert len({tuple(image.flatten().tolist()) for image in one}) == 6
    assert not torch.equal(attacked(APGD(steps=2), target, images, labels, ids=torch.arange(10, 16)), one)
    assert not torch.equal(APGD(steps=2)(target, images, labels, epsilon=0.1, seed=4), one)


@pytest.mark.parametrize("norm", NORMS)
def test_no_weaker_than_pgd_and_fgsm_on_a_trained_net(norm: Norm) -> None:
    model, images, labels = trained_on_digits()
    epsilon = 0.1 if norm == "linf" else 0.6

    def standing(way: Attack) -> int:
        found = attacked(way, model, images, labels, epsilon=epsilon, norm=norm)
        return int((labels_of(model, found) == labels).sum())

    fgsm, pgd = standing(FGSM()), standing(PGD(steps=20))
    assert 0 < pgd <= fgsm < 90, "the case must be neither too easy nor too hard"
    assert standing(APGD()) <= pgd
    for kind in (APGDDLR, APGDT):  # another loss than PGD's: an image or two may go either way
        assert standing(kind()) <= min(pgd + 2, fgsm)


def test_its_losses_are_no_smaller_than_pgd_s() -> None:
    model, images, labels = trained_on_digits()
    target = blind(model)
    reached = losses(model, attacked(APGD(), target, images, labels, epsilon=0.03), labels)
    pgd = losses(model, attacked(PGD(steps=20), target, images, labels, epsilon=0.03), labels)
    assert reached.mean() >= pgd.mean()
    assert (reached >= pgd - 0.02).float().mean() > 0.95


def test_an_image_that_fooled_the_target_is_returned_as_it_was_and_attacked_no_further() -> None:
    model, images = linear(SHAPE), pixels(12)
    target = Watched(model, lambda rows, look: rows % 3 == look % 3)
    found = attacked(APGD(steps=10, restarts=2), target, images, labels_of(model, images))
    assert [len(rows) for rows in target.rows] == [12, 8, 4], "after three points every image has won"
    for row, image in target.winners.items():
        assert torch.equal(found[row], image)


def test_where_the_target_says_so_the_model_s_own_mistakes_are_no_success() -> None:
    model, images = linear(SHAPE), pixels(6)
    labels = labels_of(model, images)
    target = Watched(model, lambda rows, look: rows >= 4)
    found = attacked(APGD(steps=3, restarts=2), target, images, labels, epsilon=1.0)
    assert target.rows == [[0, 1, 2, 3, 4, 5]] + 7 * [[0, 1, 2, 3]]
    assert (labels_of(model, found[:4]) != labels[:4]).all(), "at its largest loss the model is wrong"


@pytest.mark.parametrize("kind", [APGD, APGDDLR])
def test_the_model_s_first_mistake_is_returned_or_else_the_largest_loss(kind: type[APGD]) -> None:
    model, images = Waves(), pixels(40)
    labels = labels_of(model, images)
    labels[:5] = (labels[:5] + 1) % 3
    path = Watched(model)
    attacked(kind(steps=15), path, images, labels, epsilon=0.015)
    shown = torch.stack(path.shown)
    logits = torch.stack([model(points) for points in shown])
    wrong = logits.argmax(2) != labels
    fell = wrong.any(0)
    assert fell.any()
    assert not fell.all()
    loss = torch.stack([kind().losses(each, labels[:, None]) for each in logits])
    place = torch.where(fell, wrong.int().argmax(0), loss.argmax(0))
    found = attacked(kind(steps=15), model, images, labels, epsilon=0.015)
    assert torch.equal(found, shown[place, torch.arange(40)])
    assert (place[:5] == 0).all(), "the start included"


def test_restarts_keep_the_best_and_leave_images_alone_that_fell() -> None:
    model, images = Waves(), pixels(40)
    labels = labels_of(model, images)
    path = Watched(model)
    attacked(APGD(steps=4, restarts=3), path, images, labels, epsilon=0.01)
    shown = torch.stack(path.shown)
    wrong = torch.stack([labels_of(model, points) != labels for points in shown])
    loss = torch.stack([losses(model, points, labels) for points in shown])
    place = torch.where(wrong.any(0), wrong.int().argmax(0), loss.argmax(0))
    together = attacked(APGD(steps=4, restarts=3), model, images, labels, epsilon=0.01)
    torch.testing.assert_close(together, shown[place, torch.arange(40)])
    assert len(set((place // 5).tolist())) == 3, "the case must have different best restarts"


def test_targets_are_the_wrong_classes_of_the_largest_clean_logits() -> None:
    model, images = linear(SHAPE, classes=12), pixels(7)
    order = model(images).argsort(1, descending=True)
    right = APGDT().aims(blind(model), images, order[:, 0])
    assert len(right) == 9
    for rank, aims in enumerate(right, start=1):
        assert torch.equal(aims, torch.stack([order[:, 0], order[:, rank]], 1))
    for aims in APGDT().aims(blind(model), images, order[:, 2]):
        assert (aims[:, 0] != aims[:, 1]).all(), "no image is driven to its own label"
    few = linear(SHAPE, classes=3)
    assert len(APGDT().aims(blind(few), images, labels_of(few, images))) == 2


def test_it_leaves_parameters_without_a_gradient() -> None:
    model, images = linear(SHAPE), pixels(3)
    with torch.no_grad():
        attacked(APGDT(steps=2), model, images, labels_of(model, images))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("name", "kind"), [("apgd-ce", APGD), ("apgd-dlr", APGDDLR), ("apgd-t", APGDT)])
def test_the_names_and_the_published_hyper_parameters(name: str, kind: type[APGD]) -> None:
    assert attack(name, {}) == kind(steps=100, restarts=1, rho=0.75)
    assert attack(name, {"steps": 20, "restarts": 5, "rho": 0.5}) == kind(steps=20, restarts=5, rho=0.5)
    assert needs_gradient(name)


def test_apgd_t_has_nine_targets() -> None:
    assert APGDT().targets == 9
    with pytest.raises(InputError, match=r"attack\.apgd-ce has no setting 'targets'"):
        attack("apgd-ce", {"targets": 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"restarts": 0},
        {"rho": -0.1},
        {"rho": 1.5},
        {"rho": math.nan},
        {"rho": "much"},
        {"targets": 0},
        {"stpes": 3},
    ],
    ids=str,
)
def test_bad_hyper_parameters_are_refused_in_one_sentence(wrong: dict[str, Any]) -> None:
    (key,) = wrong
    with pytest.raises(InputError, match=rf"attack\.apgd-t.*{key}") as caught:
        attack("apgd-t", wrong)
    assert "\n" not in str(caught.value)
