from __future__ import annotations

import math
from functools import cache
from importlib.util import find_spec
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
from harness.attacks.apgd import APGD, APGDCE, APGDDLR, APGDT
from harness.attacks.attack import Attack, Judge, Target
from harness.attacks.fgsm import FGSM
from harness.attacks.losses import dlr
from harness.attacks.pgd import PGD
from harness.attacks.registry import attack, needs_gradient
from harness.data import digits
from harness.data.dataset import Location
from tests.harness.attacks.linear_models import labels_of, linear, pixels

SHAPE = (2, 3, 4)

KINDS: tuple[type[APGD], ...] = (APGDCE, APGDDLR, APGDT)


def attacked(
    way: Attack,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 0.1,
    ids: Tensor | None = None,
    judge: Judge | None = None,
) -> Tensor:
    ids = torch.arange(len(images)) if ids is None else ids
    return way(Target(model, judge), images, labels, epsilon=epsilon, image_ids=ids, seed=3)


def losses(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return cross_entropy(model(images), labels, reduction="none")


class OneByOne(nn.Module):
    """Shows a model its images one by one: a product of matrices rounds otherwise in another batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return torch.cat([self.model(image[None]) for image in images])


class Waves(nn.Module):
    """Three classes whose margins have many maxima."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        x = images.flatten(1)
        return torch.stack([x.sum(1), torch.sin(40 * x).sum(1) + 1, torch.cos(55 * x).sum(1)], 1)


@cache
def trained_on_digits() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small net, and 100 test images with the labels that it gives them."""
    if find_spec("sklearn") is None:
        pytest.skip("scikit-learn, which carries the digits, is not installed")
    data = digits.find(Location()).read()
    images, labels = torch.from_numpy(data.train.images[:1380]), torch.from_numpy(data.train.labels[:1380])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
        )
        parameters = list(model.parameters())
        for _ in range(10):
            for batch in torch.randperm(len(images)).reshape(-1, 60):
                loss = cross_entropy(model(images[batch]), labels[batch])
                with torch.no_grad():  # by hand: importing torch's optimizers takes longer than all of this
                    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                        parameter.sub_(gradient, alpha=0.3)
    seen = torch.from_numpy(data.test.images[:100])
    return model, seen, labels_of(model, seen)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    classes=st.integers(2, 6),
    n=st.integers(1, 4),
    epsilon=st.floats(1e-4, 1.0),
    steps=st.integers(1, 12),
    restarts=st.integers(1, 2),
    judged=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_result_lies_in_the_ball_and_is_an_image(
    kind: type[APGD],
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
    labels = labels_of(model, images)
    before = images.clone()
    shown: list[Tensor] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        assert (adversarial - before[rows]).abs().max() <= epsilon + 1e-6
        shown.append(adversarial)
        return labels_of(model, adversarial) != labels[rows]

    way = kind(steps=steps, restarts=restarts)
    found = attacked(way, model, images, labels, epsilon=epsilon, judge=judge if judged else None)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert (found - before).abs().max() <= epsilon + 1e-6
    assert torch.equal(images, before)
    for each in (found, *shown):
        assert each.min() >= 0
        assert each.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_on_two_classes_of_a_linear_model_it_reaches_the_ball_s_worst_corner(kind: type[APGD]) -> None:
    model, images = linear(SHAPE, classes=2), pixels(20, SHAPE)
    labels = labels_of(model, images)
    weight = model.get_parameter("1.weight").detach()
    away = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    found = attacked(kind(steps=10), model, images, labels)
    torch.testing.assert_close(found, (images + 0.1 * away).clamp(0, 1), rtol=0, atol=1e-6)


def test_the_targets_between_them_reach_the_worst_corner_of_every_class() -> None:
    # A linear model: the smallest margin to any class is reached at that class's own corner.
    model, images = linear(SHAPE, classes=5), pixels(40, SHAPE)
    labels = labels_of(model, images)
    weight = model.get_parameter("1.weight").detach()
    directions = (weight[None] - weight[labels][:, None]).sign().reshape(40, 5, *SHAPE)
    corners = (images[:, None] + 0.05 * directions).clamp(0, 1)
    margins = torch.stack([model(corners[:, c])[:, c] - model(corners[:, c])[range(40), labels] for c in range(5)], 1)
    margins[range(40), labels] = -math.inf
    found = attacked(APGDT(steps=10), model, images, labels, epsilon=0.05)
    assert torch.equal(labels_of(model, found) != labels, (margins > 0).any(1))
    assert 0.1 < (margins > 0).any(1).float().mean() < 0.9, "the case must have both kinds of images"


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("way", [APGDCE(steps=12), APGDDLR(steps=12, restarts=2), APGDT(steps=12)], ids=str)
def test_one_by_one_is_as_all_together(way: APGD, judged: bool) -> None:
    model, images = OneByOne(nn.Sequential(Waves())), pixels(9, SHAPE)
    labels, ids = labels_of(model, images), torch.arange(100, 109)

    def judge_of(offset: int) -> Judge | None:
        return (lambda x, rows: model(x).argmax(1) != labels[rows + offset]) if judged else None

    together = attacked(way, model, images, labels, epsilon=0.015, ids=ids, judge=judge_of(0))
    for size in (1, 4):
        parts = [
            attacked(
                way,
                model,
                images[start : start + size],
                labels[start : start + size],
                epsilon=0.015,
                ids=ids[start : start + size],
                judge=judge_of(start),
            )
            for start in range(0, 9, size)
        ]
        assert torch.equal(torch.cat(parts), together)
    wrong = labels_of(model, together) != labels
    assert wrong.any(), "the case must have images that fall"
    assert not wrong.all(), "and some that stand"


def test_draws_follow_the_seed_and_the_image_alone() -> None:
    model, images = Waves(), torch.full((6, *SHAPE), 0.5)
    labels = labels_of(model, images)
    one = attacked(APGDCE(steps=2), model, images, labels)
    assert torch.equal(attacked(APGDCE(steps=2), model, images, labels), one)
    assert len({tuple(image.flatten().tolist()) for image in one}) == 6
    other = attacked(APGDCE(steps=2), model, images, labels, ids=torch.arange(10, 16))
    assert not torch.equal(other, one)


def test_it_starts_on_the_ball_s_surface_and_asks_about_the_start_and_each_step() -> None:
    model, images = linear(SHAPE), torch.full((8, *SHAPE), 0.5)
    labels = labels_of(model, images)
    shown: list[Tensor] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        shown.append(adversarial)
        return torch.zeros(len(rows), dtype=torch.bool)

    attacked(APGDCE(steps=5), model, images, labels, judge=judge)
    assert len(shown) == 6
    offsets = (shown[0] - images).flatten(1).abs()
    torch.testing.assert_close(offsets.amax(1), torch.full((8,), 0.1))
    assert (offsets.mean(1) < 0.08).all(), "a start is a random point, not a corner"


class Valley(nn.Module):
    """Two classes of a single pixel; the loss has its maximum at 0.53 and falls linearly on both sides."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        height = -(images.flatten(1)[:, 0] - 0.53).abs() - 1
        return torch.stack([-height, height], 1)


def points_of(way: APGD, image: float, start_id: int) -> list[float]:
    """Return every point that an image of the valley comes by, in order."""
    shown: list[float] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        shown.append(float(adversarial))
        return torch.zeros(len(rows), dtype=torch.bool)

    label, ids = torch.tensor([0]), torch.tensor([start_id])
    attacked(way, Valley(), torch.full((1, 1, 1, 1), image), label, ids=ids, judge=judge)
    return shown


def test_the_first_step_is_two_epsilon_long_and_the_later_ones_have_momentum() -> None:
    paths = {round(path[0], 3): path[:5] for path in (points_of(APGDCE(), 0.5, start) for start in range(8))}
    # Each step: 3/4 of the way to the end of the ball on the maximum's side, and 1/4 of the step before.
    assert paths[0.6] == pytest.approx([0.6, 0.4, 0.5, 0.6, 0.475])
    assert paths[0.4] == pytest.approx([0.4, 0.6, 0.5, 0.55, 0.45])


def test_after_a_checkpoint_it_goes_on_from_its_best_point_with_half_the_step() -> None:
    # Of so few steps each ends at a checkpoint. The one from 0.55 to 0.45 does not raise the loss: the next is half as
    # long, from 0.55 again, to 0.55 - 0.75 * 0.1, and what is left of the step before is (0.55 - 0.55) / 4.
    assert points_of(APGDCE(steps=5), 0.5, 0) == pytest.approx([0.4, 0.6, 0.5, 0.55, 0.45, 0.475])


def test_steps_shrink_until_a_narrow_maximum_is_found() -> None:
    images, labels = torch.full((4, 1, 1, 1), 0.5), torch.zeros(4, dtype=torch.int64)
    found = attacked(APGDCE(), Valley(), images, labels)
    assert (found - 0.53).abs().max() < 0.003
    shown: list[Tensor] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        shown.append(adversarial[:, 0, 0, 0])
        return torch.zeros(len(rows), dtype=torch.bool)

    attacked(APGDCE(), Valley(), images, labels, judge=judge)
    moves = [(after - before).abs().max() for before, after in pairwise(shown)]
    assert max(moves[-10:]) < 0.1 * max(moves[:10]), "halved again and again"


def test_no_weaker_than_pgd_and_fgsm_on_a_trained_net() -> None:
    model, images, labels = trained_on_digits()

    def standing(way: Attack) -> int:
        return int((labels_of(model, attacked(way, model, images, labels)) == labels).sum())

    fgsm, pgd = standing(FGSM()), standing(PGD(steps=20))
    assert 0 < pgd <= fgsm < 90, "the case must be neither too easy nor too hard"
    assert standing(APGDCE()) <= pgd
    for kind in (APGDDLR, APGDT):  # another loss than PGD's: an image or two may go either way
        assert standing(kind()) <= min(pgd + 2, fgsm)


def test_its_losses_are_no_smaller_than_pgd_s() -> None:
    model, images, labels = trained_on_digits()
    reached = losses(model, attacked(APGDCE(), model, images, labels, epsilon=0.03), labels)
    pgd = losses(model, attacked(PGD(steps=20), model, images, labels, epsilon=0.03), labels)
    assert reached.mean() >= pgd.mean()
    assert (reached >= pgd - 0.02).float().mean() > 0.95


def test_an_image_that_fooled_the_judge_is_returned_as_it_was_and_attacked_no_further() -> None:
    model, images = linear(SHAPE), pixels(12, SHAPE)
    labels = labels_of(model, images)
    asked: list[int] = []
    winners: dict[int, Tensor] = {}

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        asked.append(len(rows))
        won = rows % 3 == len(asked) % 3
        winners.update({int(row): image.clone() for row, image in zip(rows[won], adversarial[won], strict=True)})
        return won

    found = attacked(APGDCE(steps=10, restarts=2), model, images, labels, judge=judge)
    assert asked == [12, 8, 4], "after three points every image has won, and nothing starts again"
    for row, image in winners.items():
        assert torch.equal(found[row], image)


def test_with_a_judge_the_model_s_own_mistakes_are_no_success() -> None:
    model, images = linear(SHAPE), pixels(6, SHAPE)
    labels = labels_of(model, images)
    asked: list[list[int]] = []

    def judge(adversarial: Tensor, rows: Tensor) -> Tensor:
        asked.append(rows.tolist())
        return rows >= 4

    found = attacked(APGDCE(steps=3, restarts=2), model, images, labels, epsilon=1.0, judge=judge)
    assert asked == [[0, 1, 2, 3, 4, 5]] + 7 * [[0, 1, 2, 3]]
    assert (labels_of(model, found[:4]) != labels[:4]).all(), "at its largest loss the model is wrong"


class Seen(nn.Module):
    """Keeps the images that a model was shown, and its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.images: list[Tensor] = []
        self.logits: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.model(images)
        self.images.append(images.detach().clone())
        self.logits.append(logits.detach().clone())
        return logits


@pytest.mark.parametrize("kind", [APGDCE, APGDDLR])
def test_without_a_judge_the_mistake_of_largest_loss_is_returned_or_else_the_largest_loss(kind: type[APGD]) -> None:
    images = pixels(40, SHAPE)
    model = Seen(Waves())
    labels = labels_of(model.model, images)
    found = attacked(kind(steps=15), model, images, labels, epsilon=0.015)
    assert len(model.images) == 16, "one gradient for the start and one a step"
    shown, logits = torch.stack(model.images), torch.stack(model.logits)
    loss = torch.stack(
        [dlr(z, labels) if kind is APGDDLR else cross_entropy(z, labels, reduction="none") for z in logits]
    )
    wrong = logits.argmax(2) != labels
    fell = wrong.any(0)
    assert fell.any()
    assert not fell.all()
    first = torch.where(wrong | ~fell, loss, -math.inf).argmax(0)
    assert torch.equal(found, shown[first, torch.arange(40)])


def test_restarts_keep_the_best_and_leave_images_alone_that_fell() -> None:
    images = pixels(40, SHAPE)
    model = Seen(Waves())
    labels = labels_of(model.model, images)
    single = [
        APGDCE(steps=4)(Target(model), images, labels, epsilon=0.01, image_ids=torch.arange(40), seed=3 + restart)
        for restart in range(3)
    ]
    fell = torch.stack([labels_of(model.model, each) != labels for each in single])
    reached = torch.stack([losses(model.model, each, labels) for each in single])
    model.images.clear()
    together = attacked(APGDCE(steps=4, restarts=3), model, images, labels, epsilon=0.01)
    assert [len(shown) for shown in model.images[::5]] == [40, int((~fell[0]).sum()), int((~fell[:2].any(0)).sum())]
    choice = torch.where(fell.any(0), fell.int().argmax(0), reached.argmax(0))
    torch.testing.assert_close(together, torch.stack(single)[choice, torch.arange(40)])
    assert len(set(choice.tolist())) == 3, "the case must have different best restarts"


def test_targets_are_the_wrong_classes_of_the_largest_clean_logits() -> None:
    model, images = linear(SHAPE, classes=12), pixels(7, SHAPE)
    order = model(images).argsort(1, descending=True)
    right = APGDT().aims(model, images, order[:, 0])
    assert len(right) == 9
    for rank, aims in enumerate(right, start=1):
        assert torch.equal(aims, torch.stack([order[:, 0], order[:, rank]], 1))
    for aims in APGDT().aims(model, images, order[:, 2]):
        assert (aims[:, 0] != aims[:, 1]).all(), "no image is driven to its own label"
    few = linear(SHAPE, classes=3)
    assert len(APGDT().aims(few, images, labels_of(few, images))) == 2


def test_it_leaves_parameters_without_a_gradient() -> None:
    model, images = linear(SHAPE), pixels(3, SHAPE)
    with torch.no_grad():
        attacked(APGDT(steps=2), model, images, labels_of(model, images))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("name", "kind"), [("apgd-ce", APGDCE), ("apgd-dlr", APGDDLR), ("apgd-t", APGDT)])
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


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.05, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_no_weaker_than_the_authors_own(kind: type[APGD], epsilon: float) -> None:
    peer = pytest.importorskip("pyautoattack.autopgd_base")
    model, images, labels = trained_on_digits()
    own = labels_of(model, attacked(kind(), model, images, labels, epsilon=epsilon)) == labels
    shared = {"eps": epsilon, "n_iter": 100, "n_restarts": 1, "seed": 3, "device": "cpu"}
    if kind is APGDT:
        theirs = peer.APGDAttack_targeted(model, **shared)
    else:
        theirs = peer.APGDAttack(model, loss={APGDCE: "ce", APGDDLR: "dlr"}[kind], **shared)
    other = labels_of(model, theirs.perturb(images, labels)) == labels
    assert int(own.sum()) <= int(other.sum()) + 1  # of 100: random starts differ
