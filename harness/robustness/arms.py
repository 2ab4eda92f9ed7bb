"""The arms of the protocol: ways to attack an engine that has no gradient.

- `transfer`: attacks run on a model that the engine was made from, and some of their iterates are shown to the engine;
- `loop`: the model that is the engine's own function gives the gradients, the engine every loss and decision;
- `query`: attacks that need no gradient ask the engine alone;
- `noise`: random points, as a control.

Whatever an arm claims, success is what the engine decides about the final images in a clean pass of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.attacks.attack import Attack, BlackBox
from harness.attacks.black_box.projection import TOLERANCE, distances
from harness.data.dataset import Images, Labels
from harness.robustness.decisions import decide
from harness.robustness.engagement import Engagement, EngineVictim

if TYPE_CHECKING:
    from harness.attacks.target import Target


TRANSFER, LOOP, QUERY, NOISE = "transfer", "loop", "query", "noise"
ARMS: tuple[str, ...] = (TRANSFER, LOOP, QUERY, NOISE)

SHOWN_EVERY = 5
"""Which of a transferred attack's iterates the engine is shown, beside the last."""


@dataclass(frozen=True)
class Step:
    """One attack of one arm.

    Attributes:
        arm: a name of `ARMS`.
        attack: with its hyper-parameters.
        source: the model whose gradients it follows; None asks the engine alone.
    """

    arm: str
    attack: Attack | BlackBox
    source: str | None

    @property
    def title(self) -> str:
        """The step in words, as `apgd-ce on twin`."""
        return self.attack.name if self.source is None else f"{self.attack.name} on {self.source}"


@dataclass(frozen=True)
class BatchOutcome:
    """What a step found on one batch of m images.

    Attributes:
        rows: int64 (m,), in the split.
        adversarial: float32 (m, channels, height, width), inside the ball and inside [0, 1].
        decisions: int64 (m,): the engine's of these, in a pass of its own.
        distances: float32 (m,): the smallest change seen to fool the engine, in or out of the ball; infinite for none.
        queries: images shown to the engine, that pass included.
        wavering: images that fooled the engine during the attack and not in that pass.
    """

    rows: Labels
    adversarial: Images
    decisions: Labels
    distances: npt.NDArray[np.float32]
    queries: int
    wavering: int


def attack_batch(engagement: Engagement, step: Step, rows: Labels) -> BatchOutcome:
    """Attack the images of these rows of the split, at least one, and have the engine decide about the result."""
    victim = EngineVictim(engagement, rows)
    adversarial = _adversarial(engagement, step, rows, victim)
    claimed = victim.claimed.copy()
    _check_ball(engagement, adversarial, rows)
    decisions = decide(victim.scores(adversarial, np.arange(len(rows))))
    still = decisions == engagement.split.labels[rows]
    return BatchOutcome(rows, adversarial, decisions, victim.distances, victim.queries, int((claimed & still).sum()))


def _adversarial(engagement: Engagement, step: Step, rows: Labels, victim: EngineVictim) -> Images:
    images, labels = engagement.split.images[rows], engagement.split.labels[rows]
    settings: dict[str, Any] = {"epsilon": engagement.epsilon, "norm": engagement.norm, "seed": engagement.seed}
    if isinstance(step.attack, BlackBox):
        return step.attack(victim, images, labels, image_ids=rows, **settings)
    import torch

    target = _target(engagement, step, victim)
    device = target.model.device
    pixels, classes, ids = (
        torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in (images, labels, rows)
    )
    found = step.attack(target, pixels, classes, image_ids=ids, **settings)
    return np.ascontiguousarray(found.cpu().numpy())


def _check_ball(engagement: Engagement, adversarial: Images, rows: Labels) -> None:
    """Fail where an attack left the ball: what it found would not count, and would be counted."""
    far = distances(adversarial, engagement.split.images[rows], engagement.norm).max()
    if not (far <= engagement.epsilon + TOLERANCE and adversarial.min() >= 0.0 and adversarial.max() <= 1.0):
        raise RuntimeError(f"an attack went {far} from its images, and the ball's radius is {engagement.epsilon}")


def _target(engagement: Engagement, step: Step, victim: EngineVictim) -> Target:
    from harness.attacks.target import Loop, Replay

    assert step.source is not None, "an attack along gradients has a source"
    model = engagement.sources[step.source]
    return Loop(model, victim) if step.arm == LOOP else Replay(model, victim, SHOWN_EVERY)
