"""What sanity rules are judged by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from harness.attacks.attack import Attack
from harness.data.dataset import Labels
from harness.robustness.arms import LOOP, TRANSFER
from harness.robustness.decisions import Scores
from harness.robustness.engagement import Engagement
from harness.robustness.sanity.asking import engine_scores
from harness.robustness.sanity.extra_attacks import ExtraAttacks

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable

Mask = npt.NDArray[np.bool_]

ALONG_GRADIENTS = (TRANSFER, LOOP)
"""The arms that follow gradients."""

PROBED = 100
"""Images, at most, that rules attack once more."""


class Ended(Protocol):
    """An arm that has run."""

    @property
    def name(self) -> str:
        """Of the arm."""

    @property
    def decisions(self) -> Labels:
        """The engine's after it, int64 (n,)."""

    @property
    def wavering(self) -> int:
        """Images that fooled the engine during an attack and not in its final pass."""


@dataclass(frozen=True)
class ArmView:
    """What rules look at of an arm.

    Attributes:
        decisions: the engine's after it, int64 (n,); the clean one of an image that was not attacked.
        wavering: images that fooled the engine during an attack and not in its final pass.
    """

    decisions: Labels
    wavering: int = 0


@dataclass(frozen=True)
class Evidence:
    """What is known after the attacks on one engine.

    Attributes:
        engagement: the engine, its sources (none without gradients), the images, the ball, the seed.
        attacks: those along gradients that were asked for.
        outcomes: the arms that ran, by name.
        clean_scores: the engine's, float32 (n, classes).
        probe: rows, among those that the engine gets right, that rules attack once more.
        undefended: robust accuracy under attack of the same model trained without any defence, a fraction; None where
            there is none.
    """

    engagement: Engagement
    attacks: Sequence[Attack]
    outcomes: Mapping[str, ArmView]
    clean_scores: Scores
    probe: Labels
    undefended: float | None = None

    @staticmethod
    def gathered(
        engagement: Engagement, attacks: Sequence[Attack], arms: Iterable[Ended], undefended: float | None = None
    ) -> Evidence:
        """Collect the evidence after the arms have run; the engine is asked for its clean scores once more."""
        return Evidence(
            engagement=engagement,
            attacks=attacks,
            outcomes={arm.name: ArmView(arm.decisions, arm.wavering) for arm in arms},
            clean_scores=engine_scores(engagement, engagement.split.images),
            probe=probe_of(engagement),
            undefended=undefended,
        )

    @cached_property
    def extra(self) -> ExtraAttacks:
        """The attacks that rules add; each runs once, when the first rule asks."""
        return ExtraAttacks(self.engagement, self.attacks, self.probe)

    @property
    def no_gradients(self) -> str | None:
        """Why rules about gradients cannot be judged; None where they can."""
        if not self.engagement.sources:
            return "no model with gradients is at hand"
        if len(self.probe) == 0:
            return "the engine gets no image right, so that there is none to attack"
        return None

    @property
    def own_source(self) -> Differentiable:
        """The source that is the engine's own function; only where `no_gradients` is None."""
        assert self.engagement.own is not None
        return self.engagement.sources[self.engagement.own]

    @property
    def diagonal(self) -> float:
        """Length of the diagonal of [0, 1] to the number of an image's values."""
        return math.sqrt(math.prod(self.engagement.split.images.shape[1:]))

    @property
    def climbed(self) -> bool:
        """Whether any arm along gradients ran."""
        return any(name in self.outcomes for name in ALONG_GRADIENTS)

    @property
    def robust(self) -> float:
        """Share of all images that are right when clean and that no arm turned."""
        right = self.engagement.clean_decisions == self.engagement.split.labels
        return float((right & ~self.turned(*self.outcomes)).mean())

    def turned(self, *names: str) -> Mask:
        """Return which images, bool (n,), the engine gets right when clean and wrong after one of these arms."""
        labels = self.engagement.split.labels
        found = np.zeros(len(labels), np.bool_)
        for name in names:
            if name in self.outcomes:
                found |= self.outcomes[name].decisions != labels
        turned: Mask = found & (self.engagement.clean_decisions == labels)
        return turned


def probe_of(engagement: Engagement, limit: int = PROBED) -> Labels:
    """Return rows that the engine gets right, at most `limit`, evenly spread over the images."""
    right = engagement.right
    if len(right) <= limit:
        return right
    spread: Labels = right[np.linspace(0, len(right) - 1, limit).round().astype(np.int64)]
    return spread
