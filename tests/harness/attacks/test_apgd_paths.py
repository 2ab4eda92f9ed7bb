"""The points that Auto-PGD comes by, worked out by hand on a model with a single pixel."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from harness.attacks.apgd import APGD
from harness.attacks.ball import NORMS, Norm
from tests.harness.attacks.attacking import Watched, attacked
from tests.harness.attacks.linear_models import SHAPE, labels_of, linear

EVERY = pytest.mark.parametrize("norm", NORMS)  # of a single value both norms are the same


class Valley(nn.Module):
    """Two classes of a single pixel; the loss has its maximum at 0.53 and falls linearly on both sides."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        height = -(images.flatten(1)[:, 0] - 0.53).abs() - 1
        return torch.stack([-height, height], 1)


def paths_of(way: APGD, norm: Norm) -> dict[float, list[float]]:
    """Return the points that an image of the valley at 0.5 comes by, in order, by the start of the path."""
    target = Watched(Valley())
    images, labels = torch.full((8, 1, 1, 1), 0.5), torch.zeros(8, dtype=torch.int64)
    attacked(way, target, images, labels, norm=norm)
    paths = torch.stack(target.shown)[:, :, 0, 0, 0].T.tolist()
    return {round(path[0], 3): path for path in paths}


def test_it_starts_on_the_ball_s_surface_and_asks_about_the_start_and_each_step() -> None:
    model, images = linear(SHAPE), torch.full((8, *SHAPE), 0.5)
    target = Watched(model)
    attacked(APGD(steps=5), target, images, labels_of(model, images))
    assert len(target.shown) == 6
    offsets = (target.shown[0] - images).flatten(1).abs()
    torch.testing.assert_close(offsets.amax(1), torch.full((8,), 0.1))
    assert (offsets.mean(1) < 0.08).all(), "a start is a random point, not a corner"


@EVERY
def test_the_first_step_is_two_epsilon_long_and_the_later_ones_have_momentum(norm: Norm) -> None:
    paths = paths_of(APGD(), norm)
    assert set(paths) == {0.4, 0.6}
    # Each step: 3/4 of the way to the end of the ball on the maximum's side, and 1/4 of the step before.
    assert paths[0.6][:5] == pytest.approx([0.6, 0.4, 0.5, 0.6, 0.475])
    assert paths[0.4][:5] == pytest.approx([0.4, 0.6, 0.5, 0.55, 0.45])


@EVERY
def test_after_a_checkpoint_it_goes_on_from_its_best_point_with_half_the_step(norm: Norm) -> None:
    # Of so few steps each ends at a checkpoint. The one from 0.55 to 0.45 does not raise the loss: the next is half as
    # long, from 0.55 again, to 0.55 - 0.75 * 0.1, and what is left of the step before is (0.55 - 0.55) / 4.
    assert paths_of(APGD(steps=5), norm)[0.4] == pytest.approx([0.4, 0.6, 0.5, 0.55, 0.45, 0.475])


@EVERY
def test_steps_shrink_until_a_narrow_maximum_is_found(norm: Norm) -> None:
    target = Watched(Valley())
    images, labels = torch.full((4, 1, 1, 1), 0.5), torch.zeros(4, dtype=torch.int64)
    found = attacked(APGD(), target, images, labels, norm=norm)
    assert (found - 0.53).abs().max() < 0.003
    moves = [(after - before).abs().max() for before, after in pairwise(target.shown)]
    assert max(moves[-10:]) < 0.1 * max(moves[:10]), "halved again and again"


def test_the_last_point_costs_no_gradient() -> None:
    target = Watched(Valley())
    asked: list[int] = []
    gradient = target.gradient
    target.gradient = lambda images, loss: (asked.append(len(images)), gradient(images, loss))[1]  # type: ignore[method-assign, func-returns-value]
    images, labels = torch.full((4, 1, 1, 1), 0.5), torch.zeros(4, dtype=torch.int64)
    attacked(APGD(steps=7), target, images, labels)
    assert asked == [4] * 7
    assert len(target.shown) == 8
