"""The arms along gradients, on engines that decide a little otherwise than the model that gives the gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from harness.attacks.attack import Attack
from harness.attacks.ball import Ball
from harness.attacks.differentiable import Differentiable
from harness.attacks.losses import cross_entropy
from harness.attacks.pgd import PGD
from harness.attacks.target import Target
from harness.data.dataset import Images
from harness.robustness.arms import SHOWN_EVERY, BatchOutcome, Step, attack_batch
from harness.robustness.decisions import Scores
from harness.robustness.engagement import Engagement

from .tiny_engines import EPSILON, Counted, brightness, engaged, grey, window

PGD_10 = PGD(steps=10)


class Brightness(nn.Module):
    """Class 1 is what is brighter than the threshold."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        margin = images.mean((1, 2, 3)) - self.threshold
        return torch.stack([-margin, margin], 1)


def twin(threshold: float = 0.5) -> dict[str, Differentiable]:
    return {"twin": Differentiable(Brightness(threshold))}


def attacked(engagement: Engagement, arm: str, attack: Attack = PGD_10, source: str = "twin") -> BatchOutcome:
    return attack_batch(engagement, Step(arm, attack, source), engagement.right)


def test_transfer_turns_what_lies_within_epsilon() -> None:
    split = grey([0.2, 0.42, 0.48, 0.52, 0.58, 0.8, 0.45])
    split.labels[6] = 1
    engine = Counted(brightness())
    engagement = engaged(engine, split, twin())
    before = engine.shown
    found = attacked(engagement, "transfer")
    assert found.rows.tolist() == [0, 1, 2, 3, 4, 5], "the last image is wrong when clean"
    assert found.decisions.tolist() == [0, 1, 1, 0, 0, 1]
    assert found.adversarial.shape == (6, 1, 2, 2)
    assert found.adversarial.dtype == np.float32
    assert np.abs(found.adversarial - split.images[:6]).max() <= EPSILON + 1e-6
    # Of eleven points every fifth is shown, and the last. Images 2 and 3 win at the fifth, the others that win at the
    # tenth, images 0 and 5 never; all six once more in the end.
    assert found.queries == engine.shown - before == 2 * 1 + 2 * 2 + 2 * 3 + 6
    assert found.wavering == 0
    assert found.distances == pytest.approx([np.inf, 0.09, 0.04, 0.04, 0.09, np.inf], abs=1e-6)


def test_an_iterate_that_was_shown_counts_though_the_last_one_walks_past() -> None:
    assert SHOWN_EVERY == 5
    split = grey([0.495, 0.48, 0.2])
    engagement = engaged(Counted(window), split, twin())
    transfer, loop = attacked(engagement, "transfer"), attacked(engagement, "loop")
    # At its fifth point the first image is at 0.535, inside; the second one's fifth is at 0.52 and its tenth at 0.57.
    assert transfer.decisions.tolist() == [1, 0, 0]
    assert transfer.adversarial[0] == pytest.approx(np.full((1, 2, 2), 0.535))
    assert loop.decisions.tolist() == [1, 1, 0], "the loop sees every step"


def test_the_loop_is_told_of_every_step_and_ends_where_it_won() -> None:
    engine = Counted(window)
    engagement = engaged(engine, grey([0.485, 0.495, 0.2]), twin())
    before = engine.shown
    found = attacked(engagement, "loop")
    # Images 0 and 1 win after five and four steps of 0.01, image 2 is shown its eleven points; all three once more.
    assert found.queries == engine.shown - before == 6 + 5 + 11 + 3
    assert found.distances == pytest.approx([0.05, 0.04, np.inf], abs=1e-6)
    assert found.decisions.tolist() == [1, 1, 0]


def test_transfer_goes_on_where_only_the_source_is_fooled() -> None:
    split = grey([0.47])
    engagement = engaged(brightness(0.56), split, twin(0.5))
    for arm in ("transfer", "loop"):
        found = attacked(engagement, arm)
        assert found.decisions.tolist() == [1], "the source was fooled six steps before"
        assert found.adversarial.mean() > 0.56


def test_a_source_that_errs_already_does_not_spare_the_engine() -> None:
    # The engine gets the image right, the model gives it the other class when clean.
    split = grey([0.45])
    found = attacked(engaged(brightness(0.5), split, twin(0.4)), "transfer")
    assert found.decisions.tolist() == [1]


@dataclass(frozen=True)
class Watching(Attack):
    """Looks at the images once, as at a point on the way, and keeps what losses are of."""

    name = "watching"
    seen: list[Tensor]

    def run(self, target: Target, images: Tensor, labels: Tensor, ball: Ball, image_ids: Tensor, seed: int) -> Tensor:
        """Attack a batch; see `Attack`."""
        rows = torch.arange(len(images))
        logits, _ = target.gradient(images, lambda found: cross_entropy(found, labels))
        self.seen.append(target.look(images, labels, rows, logits)[0])
        return images


def test_losses_are_of_the_engines_scores_in_the_loop_and_of_the_models_in_transfer() -> None:
    split = grey([0.2, 0.45])
    engagement = engaged(brightness(0.6), split, twin(0.5))
    watching = Watching([])
    for arm in ("loop", "transfer"):
        attacked(engagement, arm, watching)
    loop, transfer = watching.seen
    assert loop.numpy() == pytest.approx(brightness(0.6)(split.images))
    assert transfer.numpy() == pytest.approx(brightness(0.5)(split.images), abs=1e-6)


def test_each_step_follows_the_source_that_it_names() -> None:
    class Backwards(Brightness):
        def forward(self, images: Tensor) -> Tensor:
            """Return logits."""
            return -super().forward(images)

    sources = {"float": Differentiable(Backwards()), **twin()}
    engagement = engaged(brightness(), grey([0.45, 0.55]), sources)
    assert engagement.own == "twin"
    assert attacked(engagement, "transfer", source="float").decisions.tolist() == [0, 1]
    assert attacked(engagement, "transfer", source="twin").decisions.tolist() == [1, 0]


def test_an_engine_that_is_not_finite_on_the_way_is_turned_there() -> None:
    def spoilt(images: Images) -> Scores:
        scores = brightness(0.9)(images)
        scores[images.mean((1, 2, 3)) > 0.43] = np.nan
        return scores

    found = attacked(engaged(spoilt, grey([0.4, 0.2]), twin()), "loop")
    assert found.decisions.tolist() == [-1, 0]
    assert found.distances == pytest.approx([0.04, np.inf], abs=1e-6)
