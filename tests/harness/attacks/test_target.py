from __future__ import annotations

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from contracts.errors import InputError
from harness.attacks.apgd import APGD
from harness.attacks.differentiable import Differentiable
from harness.attacks.losses import cross_entropy
from harness.attacks.pgd import PGD
from harness.attacks.target import Blind, Loop, Replay, WhiteBox, asked, is_wrong, margins
from harness.attacks.victim import Array, FunctionVictim, Victim, fooled
from tests.harness.attacks.attacking import TorchVictim, Watched, attacked, blind
from tests.harness.attacks.linear_models import SHAPE, away_from, greys, labels_of, linear, losses, pixels


class Counting(nn.Module):
    """Two classes, z = (10, 10 + sum of the pixels - 2) as a product, in whatever precision; counts rows by precision.

    A product of bfloat16 numbers is rounded to eight bits: around 10, to multiples of 1/16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.0, 0.0, 0.0, 0.0, 10.0], [1.0, 1.0, 1.0, 1.0, 8.0]]))
        self.rows: dict[torch.dtype, list[int]] = {torch.float32: [], torch.bfloat16: []}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        values = torch.cat([images.flatten(1), torch.ones(len(images), 1)], 1)
        logits = values @ self.weight.T
        self.rows[logits.dtype].append(len(images))
        return logits


def sums(*of: float) -> Tensor:
    """Return images of four equal pixels with these sums."""
    return torch.tensor(of)[:, None, None, None].expand(-1, 1, 2, 2) / 4


def looked(images: Tensor, labels: Tensor, half: torch.dtype | None) -> tuple[Counting, Tensor, Tensor]:
    """Return a model, and what a white box says about images whose gradient was taken."""
    model = Counting()
    target = WhiteBox(Differentiable(model, half))
    logits, _ = target.gradient(images, lambda found: cross_entropy(found, labels))
    return model, *target.look(images, labels, torch.arange(len(images)), logits)


def test_a_decision_that_rounding_alone_would_change_is_confirmed_in_float32() -> None:
    # 2.01 is above 2, the other class wins by 0.01; 1.99 is below. In bfloat16 both are a tie, that class 0 wins.
    images, labels = sums(2.01, 1.99, 2.01, 1.99), torch.tensor([0, 0, 1, 1])
    assert Differentiable(Counting(), torch.bfloat16).rounded_logits(images).argmax(1).tolist() == [0, 0, 0, 0]
    _, logits, won = looked(images, labels, torch.bfloat16)
    assert won.tolist() == [True, False, False, True]
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], torch.tensor([0.01, -0.01, 0.01, -0.01]), rtol=0, atol=2e-6)


def test_rows_that_are_far_from_doubt_are_not_evaluated_again() -> None:
    images, labels = sums(0.5, 2.01, 1.0, 3.9, 3.9), torch.tensor([0, 0, 0, 1, 0])
    model, _, won = looked(images, labels, torch.bfloat16)
    assert won.tolist() == [False, True, False, False, True]
    assert model.rows == {torch.bfloat16: [5], torch.float32: [2]}, "the one in doubt, and what seems to have fooled it"
    model, _, won = looked(images[[0, 2, 3]], labels[[0, 2, 3]], torch.bfloat16)
    assert not won.any()
    assert model.rows == {torch.bfloat16: [3], torch.float32: []}
    model, _, won = looked(images, labels, None)
    assert won.tolist() == [False, True, False, False, True]
    assert model.rows == {torch.bfloat16: [], torch.float32: [5]}


def test_without_logits_a_white_box_asks_the_model_in_its_own_precision() -> None:
    model = Counting()
    labels = torch.tensor([0, 0])
    logits, won = WhiteBox(Differentiable(model, torch.bfloat16)).look(sums(2.01, 1.99), labels, torch.arange(2))
    assert won.tolist() == [True, False]
    assert model.rows == {torch.bfloat16: [], torch.float32: [2]}
    assert not logits.requires_grad


@pytest.mark.parametrize("attack", [PGD(steps=6), APGD(steps=6)], ids=["pgd", "apgd"])
def test_in_half_precision_exactly_those_images_win_that_fool_the_model_in_float32(attack: PGD | APGD) -> None:
    model, images = linear(SHAPE, classes=4), pixels(60)
    labels = labels_of(model, images)
    won: set[int] = set()

    class Noting(WhiteBox):
        def look(
            self, images: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
        ) -> tuple[Tensor, Tensor]:
            logits, fell = super().look(images, labels, rows, logits, last=last)
            won.update(rows[fell].tolist())
            return logits, fell

    found = attacked(attack, Noting(Differentiable(model, torch.bfloat16)), images, labels, epsilon=0.05)
    fell = (labels_of(model, found) != labels).nonzero()[:, 0].tolist()
    assert set(fell) == won
    assert 5 < len(fell) < 50, "the case must have both kinds of images"


def test_a_loop_takes_losses_and_decisions_of_the_victim() -> None:
    model, other, images = linear(SHAPE), linear(SHAPE, seed=5), pixels(30)
    labels = labels_of(other, images)
    target = Loop(Differentiable(model), TorchVictim(other))
    given, _ = target.gradient(images, lambda found: cross_entropy(found, labels))
    torch.testing.assert_close(given, model(images).detach())
    logits, won = target.look(images, labels, torch.arange(30), given)
    torch.testing.assert_close(logits, other(images).detach())
    assert not won.any()
    found = attacked(PGD(steps=10, random_start=True, restarts=3), target, images, labels)
    fell = labels_of(other, found) != labels
    assert fell.any()
    assert not fell.all(), "the case must have images that stand"
    path = Watched(model)
    attacked(PGD(steps=10, random_start=True, restarts=3), path, images, labels)
    ends = torch.stack(path.shown[10::11])
    reached = torch.stack([losses(other, end, labels) for end in ends]).argmax(0)
    torch.testing.assert_close(found[~fell], ends[reached, torch.arange(30)][~fell])


def test_a_loop_s_gradients_are_the_model_s() -> None:
    model, images, labels = linear(SHAPE, classes=2), greys(10), torch.zeros(10, dtype=torch.int64)
    found = attacked(PGD(steps=12), Loop(Differentiable(model), always(1, 0)), images, labels)
    corner = images + 0.1 * away_from(labels, model, 1 - labels, images).sign()
    torch.testing.assert_close(found, corner, rtol=0, atol=1e-6)


def always(*scores: float) -> Victim:
    """Return a victim that gives every image the same scores."""
    return FunctionVictim(lambda images: np.tile(np.array(scores, np.float32), (len(images), 1)))


@pytest.mark.parametrize("attack", [PGD(steps=9), APGD(steps=9)], ids=["pgd", "apgd"])
@pytest.mark.parametrize(("every", "looks"), [(1, 10), (3, 4), (4, 3), (100, 1)])
def test_a_replay_asks_every_so_often_and_the_last_time(attack: PGD | APGD, every: int, looks: int) -> None:
    model, images, labels = linear(SHAPE), pixels(4), torch.zeros(4, dtype=torch.int64)
    victim = TorchVictim(lambda shown: torch.tensor([1.0, 0.0, 0.0]).expand(len(shown), 3))
    target = Replay(Differentiable(model), victim, every)
    attacked(attack, target, images, labels)
    assert victim.rows == looks * [[0, 1, 2, 3]]


@pytest.mark.parametrize("attack", [PGD(steps=9), APGD(steps=9)], ids=["pgd", "apgd"])
def test_what_a_replay_asks_about_does_not_depend_on_the_batch_before(attack: PGD | APGD) -> None:
    model, images, labels = linear(SHAPE), pixels(4), torch.zeros(4, dtype=torch.int64)
    seen: list[Array] = []

    class Noting(Victim):
        def scores(self, images: Array, rows: Array) -> Array:
            seen.append(images)
            return np.array(len(images) * [[1, 0, 0]], np.float32)

    target = Replay(Differentiable(model), Noting(), 4)
    for _ in range(2):
        attacked(attack, target, images, labels)
    assert len(seen) == 6
    for before, after in zip(seen[:3], seen[3:], strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_replay_s_losses_are_the_model_s_and_its_decisions_the_victim_s() -> None:
    model, other, images = linear(SHAPE), linear(SHAPE, seed=5), pixels(30)
    labels = labels_of(model, images)
    target = Replay(Differentiable(model), TorchVictim(other), 1)
    logits, won = target.look(images, labels, torch.arange(30))
    torch.testing.assert_close(logits, model(images).detach())
    assert torch.equal(won, labels_of(other, images) != labels)


def test_blind_never_stops() -> None:
    model, images = linear(SHAPE), pixels(6)
    labels = (labels_of(model, images) + 1) % 3
    logits, won = blind(model).look(images, labels, torch.arange(6))
    assert not won.any()
    torch.testing.assert_close(logits, model(images).detach())
    path = Watched(model)
    found = attacked(PGD(steps=5), Blind(path.model), images, labels)
    attacked(PGD(steps=5), path, images, labels)
    assert torch.equal(found, path.shown[-1])


@pytest.mark.parametrize("attack", [PGD(steps=4, restarts=2), APGD(steps=4, restarts=2)], ids=["pgd", "apgd"])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_count_as_fooled_and_never_as_the_best_loss(
    attack: PGD | APGD, broken: float
) -> None:
    model, images, labels = linear(SHAPE), pixels(6), torch.zeros(6, dtype=torch.int64)
    shown: list[tuple[Array, Array]] = []

    class Breaking(Victim):
        def scores(self, images: Array, rows: Array) -> Array:
            shown.append((images.copy(), rows.copy()))
            scores = np.array(len(images) * [[2, 1, 0]], np.float32)
            if len(shown) == 3:
                scores[rows % 2 == 0, 1] = broken
            return scores

    found = attacked(attack, Loop(Differentiable(model), Breaking()), images, labels)
    assert [len(rows) for _, rows in shown] == 3 * [6] + 7 * [3]
    np.testing.assert_array_equal(found[::2].numpy(), shown[2][0][::2])


@pytest.mark.parametrize(
    ("scores", "wrong"),
    [
        ([1.0, 2.0, 0.0], False),
        ([2.0, 1.0, 0.0], True),
        ([1.0, 2.0, np.nan], True),
        ([np.nan, np.nan, np.nan], True),
        ([0.0, np.inf, 0.0], True),
        ([-np.inf, 1.0, 0.0], True),
    ],
)
def test_numpy_and_torch_agree_about_who_is_fooled(scores: list[float], wrong: bool) -> None:
    array, labels = np.array([scores], np.float32), np.array([1])
    assert fooled(array, labels).tolist() == [wrong]
    assert is_wrong(torch.from_numpy(array), torch.from_numpy(labels)).tolist() == [wrong]


def test_margins_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    assert margins(logits, torch.tensor([0, 1, 2])).tolist() == [1.0, -2.0, -1.0]


@pytest.mark.parametrize("attack", [PGD(steps=3), APGD(steps=3)], ids=["pgd", "apgd"])
def test_a_victim_may_write_to_what_it_is_shown(attack: PGD | APGD) -> None:
    model, images = linear(SHAPE), pixels(6)
    labels = labels_of(model, images)

    class Overwriting(TorchVictim):
        def scores(self, images: Array, rows: Array) -> Array:
            found = super().scores(images, rows)
            images[...], rows[...] = 7.0, -1
            return found

    wrapped = Differentiable(model)
    before = images.clone()
    found = attacked(attack, Loop(wrapped, Overwriting(model)), images, labels)
    assert torch.equal(found, attacked(attack, Loop(wrapped, TorchVictim(model)), images, labels))
    assert torch.equal(images, before)


def test_a_victim_is_asked_about_contiguous_images_of_any_layout() -> None:
    images = pixels(3).to(memory_format=torch.channels_last)
    seen: list[Array] = []

    class Noting(Victim):
        def scores(self, images: Array, rows: Array) -> Array:
            seen.append(images)
            return np.zeros((len(images), 2), np.float32)

    asked(Noting(), images, torch.arange(3))
    assert seen[0].flags.c_contiguous
    np.testing.assert_array_equal(seen[0], images.numpy())


def test_gradients_do_not_mix_images_and_leave_parameters_without_one() -> None:
    model, images = linear(SHAPE), pixels(6)
    labels = labels_of(model, images)
    with torch.no_grad():
        logits, together = Differentiable(model).gradient(images, partial(cross_entropy, labels=labels))
    for row in range(6):
        part = slice(row, row + 1)
        _, alone = Differentiable(model).gradient(images[part], partial(cross_entropy, labels=labels[part]))
        torch.testing.assert_close(together[row], alone[0])
    torch.testing.assert_close(logits, model(images).detach())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not images.requires_grad


def test_a_model_that_looks_at_no_image_has_a_gradient_of_zero_and_one_that_is_detached_is_refused() -> None:
    bias = nn.Parameter(torch.zeros(2))
    images, labels = pixels(3), torch.zeros(3, dtype=torch.int64)
    _, gradient = Differentiable(lambda x: bias.expand(len(x), 2)).gradient(
        images, partial(cross_entropy, labels=labels)
    )
    assert torch.equal(gradient, torch.zeros_like(images))
    with pytest.raises(InputError, match="logits have no gradient: take away what detaches them"):
        attacked(PGD(), lambda x: torch.zeros(len(x), 2), images, labels)


def test_gradients_of_sure_models_do_not_vanish_in_float16() -> None:
    model, images = linear(SHAPE, classes=3), pixels(40)
    labels = labels_of(model, images)
    sure = nn.Sequential(model, Times(30.0))
    _, exact = Differentiable(sure).gradient(images, lambda found: cross_entropy(found, labels))
    largest = exact.abs().flatten(1).amax(1)
    faint = (largest > 0) & (largest < torch.finfo(torch.float16).smallest_normal / 100)
    assert faint.sum() > 3, "the case must have gradients that float16 cannot hold"
    _, found = Differentiable(sure, torch.float16).gradient(images, lambda found: cross_entropy(found, labels))
    assert (found[faint].abs().flatten(1).amax(1) > 0).all()
    alike = found[faint].sign() == exact[faint].sign()
    assert alike.float().mean() > 0.95


class Times(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        """Return the product."""
        return self.factor * logits
