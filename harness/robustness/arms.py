"""The arms of the protocol: ways to attack an engine that has no gradient, through a model that has one.

- `transfer`: the attack runs on the differentiable model alone, and its images are replayed on the engine;
- `loop`: the model gives the gradients, the engine judges every step, and an image that fooled it is kept.

Whatever an arm claims, success is what the engine decides about the final images in a clean pass of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.attacks.attack import Attack, BlackBoxAttack, BlackBoxJudge
from harness.attacks.run import adversarial_images
from harness.data.dataset import Images, Labels, Split
from harness.robustness.decisions import BATCH, decide

if TYPE_CHECKING:
    from torch import nn

    from engines.engine import Engine
    from harness.progress import Advance

_KEPT = 8


@dataclass(frozen=True)
class ArmOutcome:
    """What one arm found.

    Attributes:
        name: of the arm.
        decisions: int64 (n,), the engine's of each image's adversarial version; of an image that it got wrong when
            clean, and that was not attacked, the clean one.
        queries: images shown to the engine.
        seconds: wall time.
        rows: of the first images that fooled the engine, at most eight.
        adversarial: those images' adversarial versions.
        wavering: images that fooled the engine in the loop and not in the final pass: a sign that it is not
            deterministic.
    """

    name: str
    decisions: Labels
    queries: int
    seconds: float
    rows: tuple[int, ...]
    adversarial: Images
    wavering: int


@dataclass(frozen=True)
class Engagement:
    """Everything an arm needs.

    Attributes:
        engine: active; gives decisions.
        model: differentiable, the same function as the engine up to roundings; None where the attack needs none.
        split: the images that are evaluated.
        clean_decisions: the engine's, int64 (n,).
        attack: with its hyper-parameters.
        epsilon: radius, in pixel units.
        seed: of the attack's draws.
    """

    engine: Engine
    model: nn.Module | None
    split: Split
    clean_decisions: Labels
    attack: Attack | BlackBoxAttack
    epsilon: float
    seed: int

    @property
    def attacked(self) -> Labels:
        """Rows of the images that the engine gets right: the others need no attack."""
        return np.flatnonzero(self.clean_decisions == self.split.labels)


def run_arm(name: str, engagement: Engagement, advance: Advance) -> ArmOutcome:
    """Attack every image that the engine gets right, a batch at a time."""
    started = time.monotonic()
    judge = EngineJudge(engagement)
    decisions = engagement.clean_decisions.copy()
    rows: list[int] = []
    kept: list[Images] = []
    wavering = 0
    attacked = engagement.attacked
    for start in range(0, len(attacked), BATCH):
        batch = attacked[start : start + BATCH]
        adversarial, claimed = _ARMS[name](engagement, judge, batch)
        decisions[batch] = judge.decide(adversarial)
        fooled = decisions[batch] != engagement.split.labels[batch]
        wavering += int((claimed & ~fooled).sum())
        wanted = np.flatnonzero(fooled)[: _KEPT - len(rows)]
        rows += batch[wanted].tolist()
        kept += list(adversarial[wanted])
        advance(len(batch))
    shape = engagement.split.images.shape[1:]
    return ArmOutcome(
        name=name,
        decisions=decisions,
        queries=judge.queries,
        seconds=time.monotonic() - started,
        rows=tuple(rows),
        adversarial=np.stack(kept) if kept else np.empty((0, *shape), np.float32),
        wavering=wavering,
    )


class EngineJudge:
    """Asks the engine, and counts."""

    def __init__(self, engagement: Engagement) -> None:
        self._engine = engagement.engine
        self.queries = 0

    def decide(self, images: Images) -> Labels:
        """Return the engine's decisions of images (n, channels, height, width)."""
        self.queries += len(images)
        return decide(self._engine.infer(images))


def _transfer(engagement: Engagement, judge: EngineJudge, rows: Labels) -> tuple[Images, Mask]:
    del judge  # the engine sees the final images alone
    return _attack(engagement, rows, None), np.zeros(len(rows), np.bool_)


def _loop(engagement: Engagement, judge: EngineJudge, rows: Labels) -> tuple[Images, Mask]:
    labels = engagement.split.labels[rows]
    claimed = np.zeros(len(rows), np.bool_)

    def fooled(images: Images, places: Labels) -> Mask:
        won: Mask = judge.decide(images) != labels[places]
        claimed[places[won]] = True
        return won

    return _attack(engagement, rows, fooled), claimed


def _attack(engagement: Engagement, rows: Labels, judge: BlackBoxJudge | None) -> Images:
    return adversarial_images(
        engagement.attack,
        engagement.model,
        judge,
        engagement.split.images[rows],
        engagement.split.labels[rows],
        epsilon=engagement.epsilon,
        image_ids=rows,
        seed=engagement.seed,
    )


Mask = npt.NDArray[np.bool_]

_ARMS: Mapping[str, Callable[[Engagement, EngineJudge, Labels], tuple[Images, Mask]]] = {
    "transfer": _transfer,
    "loop": _loop,
}
"""From some rows to their adversarial images, and to which of them the arm believes to fool the engine."""

ARMS: tuple[str, ...] = tuple(_ARMS)
