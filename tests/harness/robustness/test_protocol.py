"""The arms on an engine that decides a little otherwise than the model that is attacked in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from engines.engine import Engine, LoadOptions
from harness.attacks.attack import Attack, Target
from harness.attacks.pgd import PGD
from harness.data.dataset import Split
from harness.robustness.arms import ArmOutcome, Engagement, run_arm
from harness.robustness.decisions import BATCH, UNDECIDED, decide, decisions_of, model_scores
from harness.robustness.warnings import warnings

Array = npt.NDArray[np.float32]
Scores = Callable[[Array], Array]

EPSILON = 0.1


class NumpyEngine(Engine):
    """An engine that is a numpy function and counts what it is shown."""

    def __init__(self, scores: Scores) -> None:
        super().__init__((1, 2, 2), 2, LoadOptions(batch_size=1))
        self.scores = scores
        self.shown = 0

    def _activate(self) -> None:
        pass

    def _infer(self, images: Array) -> Array:
        self.shown += len(images)
        return self.scores(images)

    def _bind(self, images: Array) -> Callable[[], None]:
        return lambda: None

    def _deactivate(self) -> None:
        pass


def brightness(threshold: float) -> Scores:
    """Class 1 is what is brighter than the threshold."""

    def scores(images: Array) -> Array:
        margin = images.mean((1, 2, 3)) - threshold
        return np.stack([-margin, margin], 1).astype(np.float32)

    return scores


class Brightness(nn.Module):
    """The same function with a gradient."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        margin = images.mean((1, 2, 3)) - self.threshold
        return torch.stack([-margin, margin], 1)


def grey(values: Sequence[float]) -> Split:
    """Return flat images of these greys; the class is whether they are brighter than 0.5."""
    images = np.broadcast_to(np.array(values, np.float32)[:, None, None, None], (len(values), 1, 2, 2)).copy()
    return Split(images, (np.array(values) > 0.5).astype(np.int64))


def engaged(engine: NumpyEngine, split: Split, model: nn.Module, attack: Attack | None = None) -> Engagement:
    clean = decide(engine.scores(split.images))
    return Engagement(engine, model, split, clean, attack or PGD(steps=10), EPSILON, seed=0)


def silence(amount: float) -> None:
    del amount


def test_transfer_turns_what_lies_within_epsilon() -> None:
    split = grey([0.2, 0.42, 0.48, 0.52, 0.58, 0.8, 0.45])
    # The last image is wrong when clean: it is not attacked and keeps its decision.
    split.labels[6] = 1
    with NumpyEngine(brightness(0.5)) as engine:
        assert isinstance(engine, NumpyEngine)
        outcome = run_arm("transfer", engaged(engine, split, Brightness(0.5)), silence)
    assert outcome.decisions.tolist() == [0, 1, 1, 0, 0, 1, 0]
    assert outcome.rows == (1, 2, 3, 4)
    assert outcome.queries == engine.shown == 6
    assert outcome.wavering == 0
    assert outcome.adversarial.shape == (4, 1, 2, 2)
    assert np.abs(outcome.adversarial - split.images[[1, 2, 3, 4]]).max() <= EPSILON + 1e-6


def window(images: Array) -> Array:
    """Class 1 only between 0.53 and 0.56: an attack that goes on walks out on the other side."""
    mean = images.mean((1, 2, 3))
    inside = (mean > 0.53) & (mean < 0.56)
    return np.stack([~inside, inside], 1).astype(np.float32)


def test_the_loop_wins_where_the_transferred_image_walks_past() -> None:
    split = grey([0.48, 0.49, 0.2])
    model = Brightness(0.5)
    with NumpyEngine(window) as engine:
        assert isinstance(engine, NumpyEngine)
        transfer = run_arm("transfer", engaged(engine, split, model), silence)
        seen = engine.shown
        loop = run_arm("loop", engaged(engine, split, model), silence)
    assert transfer.decisions.tolist() == [0, 0, 0]
    assert loop.decisions.tolist() == [1, 1, 0]
    assert loop.queries == engine.shown - seen
    # Images 0 and 1 win at their sixth and fifth step of 0.01, image 2 is shown all ten; then all three once more.
    assert loop.queries == 6 + 5 + 10 + 3
    assert loop.rows == (0, 1)
    assert decide(window(loop.adversarial)).tolist() == [1, 1]


def test_scores_that_are_not_finite_are_wrong_decisions() -> None:
    def spoilt(images: Array) -> Array:
        scores = brightness(0.5)(images)
        scores[images.mean((1, 2, 3)) > 0.9, 0] = np.nan
        return scores

    split = grey([0.2, 0.85, 0.95])
    attack = Brighten(0.1)
    with NumpyEngine(spoilt) as engine:
        assert isinstance(engine, NumpyEngine)
        engagement = engaged(engine, split, Brightness(0.5), attack)
        outcome = run_arm("transfer", engagement, silence)
    assert engagement.clean_decisions.tolist() == [0, 1, UNDECIDED]
    assert engagement.attacked.tolist() == [0, 1], "what is wrong when clean is not attacked"
    assert outcome.decisions.tolist() == [0, UNDECIDED, UNDECIDED]
    assert outcome.rows == (1,)
    assert any("scores of 1 clean images are not finite" in sign for sign in warnings(engagement.clean_decisions, []))


@dataclass
class Brighten:
    """Adds a constant; asks the judge once where there is one, and remembers what it was called with."""

    needs_gradient: ClassVar[bool] = True

    amount: float
    ids: list[int] = field(default_factory=list)

    def __call__(
        self, target: Target, images: Tensor, labels: Tensor, *, epsilon: float, image_ids: Tensor, seed: int
    ) -> Tensor:
        """Return brighter images."""
        self.ids += image_ids.tolist()
        moved = (images + self.amount).clamp(0, 1)
        if target.judge is not None:
            target.judge(moved, torch.arange(len(images)))
        return moved


def test_an_engine_that_wavers_is_counted_and_reported() -> None:
    calls = {"n": 0}

    def wavering(images: Array) -> Array:
        calls["n"] += 1
        # The batch of one image: the first four answers are the judge's, the others the final pass.
        return brightness(0.5 if calls["n"] <= 4 else 0.58)(images)

    split = grey([0.45, 0.49, 0.1, 0.2])
    with NumpyEngine(wavering) as engine:
        assert isinstance(engine, NumpyEngine)
        engagement = Engagement(engine, Brightness(0.5), split, split.labels.copy(), Brighten(0.1), EPSILON, seed=0)
        outcome = run_arm("loop", engagement, silence)
    assert outcome.wavering == 1
    assert outcome.decisions.tolist() == [0, 1, 0, 0], "the final pass decides"
    (sign,) = warnings(engagement.clean_decisions, [outcome])
    assert sign.startswith("1 images fooled the engine in arm loop and not in the final pass")


def test_an_arm_that_changes_nothing_is_reported() -> None:
    split = grey([0.1, 0.9])
    with NumpyEngine(brightness(0.5)) as engine:
        assert isinstance(engine, NumpyEngine)
        outcome = run_arm("transfer", engaged(engine, split, Brightness(0.5)), silence)
    (sign,) = warnings(split.labels, [outcome])
    assert sign.startswith("arm transfer changed no decision at all")
    assert list(warnings(split.labels, [outcome], along_gradients=False)) == [], "noise may well change nothing"
    other = replace(outcome, decisions=np.array([1, 1]))
    assert list(warnings(split.labels, [other])) == []


def test_batches_cover_every_attacked_image_once_and_report_progress() -> None:
    split = grey(np.linspace(0, 1, 2 * BATCH + 7).tolist())
    split.labels[:5] = 1
    attack = Brighten(0.3)
    moved: list[float] = []
    with NumpyEngine(brightness(0.5)) as engine:
        assert isinstance(engine, NumpyEngine)
        outcome = run_arm("transfer", engaged(engine, split, Brightness(0.5), attack), moved.append)
    assert attack.ids == list(range(5, 2 * BATCH + 7))
    assert sum(moved) == 2 * BATCH + 2
    assert len(outcome.rows) == len(outcome.adversarial) == 8
    turned = np.flatnonzero((outcome.decisions != split.labels) & (np.arange(len(split)) >= 5))
    assert outcome.rows == tuple(turned[:8])


def test_nothing_to_attack_is_an_outcome_too() -> None:
    split = grey([0.1, 0.9])
    split.labels[:] = 1 - split.labels
    with NumpyEngine(brightness(0.5)) as engine:
        assert isinstance(engine, NumpyEngine)
        outcome = run_arm("loop", engaged(engine, split, Brightness(0.5)), silence)
    assert (outcome.queries, outcome.rows, outcome.adversarial.shape) == (0, (), (0, 1, 2, 2))
    assert isinstance(outcome, ArmOutcome)


def test_engine_and_model_decide_alike_whatever_the_batches() -> None:
    split = grey(np.linspace(0.003, 1, 2 * BATCH + 3).tolist())
    moved: list[float] = []
    with NumpyEngine(brightness(0.5)) as engine:
        by_engine = decisions_of(engine.infer, split.images, moved.append)
    by_model = decisions_of(model_scores(Brightness(0.5)), split.images, moved.append)
    assert by_engine.dtype == by_model.dtype == np.int64
    assert (by_engine == split.labels).all()
    assert (by_model == split.labels).all()
    assert moved == [BATCH, BATCH, 3] * 2


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
def test_any_score_that_is_not_finite_leaves_an_image_undecided(spoilt: float) -> None:
    scores = np.array([[0, 2, 1], [0, spoilt, 1], [3, 2, spoilt]], np.float32)
    assert decide(scores).tolist() == [1, UNDECIDED, UNDECIDED]
