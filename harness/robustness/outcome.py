"""What the protocol found on one engine, as the result document, its arrays and its pictures tell it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.attacks.registry import settings_of
from harness.data.dataset import Images, Labels, Split
from harness.robustness.intervals import Share, share
from harness.robustness.plan import Plan
from harness.robustness.protocol import SHOWN, ArmOutcome, StepOutcome
from harness.robustness.worst_case import WorstCase, minimal_norm, worst_case

_RULE = f"the first {SHOWN} images of the test split that any arm turned, each as the first arm that did turned it"


@dataclass(frozen=True)
class Outcome:
    """The arms' outcomes on the evaluated images.

    Attributes:
        split: the images.
        clean_decisions: the engine's, int64 (n,).
        planned: what was to run, and what could not.
        arms: what ran; at least one.
    """

    split: Split
    clean_decisions: Labels
    planned: Plan
    arms: tuple[ArmOutcome, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, as JSON values."""
        told = self._worst_case
        return {
            "worst_case": asdict(told.robust),
            "arms": {
                arm.name: {
                    **asdict(alone),
                    "unique_wins": wins,
                    "queries": arm.queries,
                    "seconds": round(arm.seconds, 3),
                }
                for arm, alone, wins in zip(self.arms, told.alone, told.unique_wins, strict=True)
            },
            "steps": [_told(step) for arm in self.arms for step in arm.steps],
            "skipped": self.planned.skipped,
            "minimal_norm": self._minimal_norm(),
        }

    def _minimal_norm(self) -> dict[str, Any] | None:
        """Return the median of the smallest changes, where an attack looked for them."""
        if not any(step.attack.seeks_nearest for step in self.planned.steps):
            return None
        right = self.clean_decisions == self.split.labels
        sought = np.zeros_like(right)
        for arm in self.arms:
            standing = right.copy()
            for step in arm.steps:
                if step.step.attack.seeks_nearest:
                    sought |= standing
                standing[step.turned] = False
        return asdict(minimal_norm(self.split.labels, self.clean_decisions, self.arms, sought))

    def arrays(self) -> dict[str, Any]:
        """Return every decision and the smallest changes by arm, and which arm won, each of shape (n,)."""
        decisions = {f"{arm.name}_decisions": arm.decisions for arm in self.arms}
        distances = {f"{arm.name}_distances": arm.distances for arm in self.arms}
        return {"winner": self._worst_case.winner, **decisions, **distances}

    def pictures(self) -> dict[str, Any]:
        """Return a few images, clean and turned, with both decisions and the rule by which they were chosen."""
        found: dict[int, tuple[Images, int, str]] = {}
        for arm in self.arms:
            for step in arm.steps:
                for row, image in zip(step.shown.tolist(), step.adversarial, strict=True):
                    found.setdefault(row, (image, int(arm.decisions[row]), f"{arm.name}, {step.step.title}"))
        rows = sorted(found)[:SHOWN]
        shape = self.split.images.shape[1:]
        return {
            "clean": self.split.images[rows],
            "adversarial": np.array([found[row][0] for row in rows], np.float32).reshape(-1, *shape),
            "labels": self.split.labels[rows],
            "clean_decisions": self.clean_decisions[rows],
            "adversarial_decisions": np.array([found[row][1] for row in rows], np.int64),
            "turned_by": np.array([found[row][2] for row in rows], np.str_),
            "rule": np.array(_RULE),
        }

    def under(self, attack: str) -> tuple[Share, Share] | None:
        """Return clean accuracy, and the share that is right when clean and that no step with this attack turned.

        None where no step ran it.
        """
        if all(step.attack.name != attack for step in self.planned.steps):
            return None
        right = self.clean_decisions == self.split.labels
        turned = np.zeros_like(right)
        for step in (step for arm in self.arms for step in arm.steps if step.step.attack.name == attack):
            turned[step.turned] = True
        return share(right), share(right & ~turned)

    @cached_property
    def _worst_case(self) -> WorstCase:
        return worst_case(self.split.labels, self.clean_decisions, self.arms)


def _told(outcome: StepOutcome) -> dict[str, Any]:
    step = outcome.step
    return {
        "arm": step.arm,
        "attack": step.attack.name,
        "source": step.source,
        "attacked": outcome.attacked,
        "turned": len(outcome.turned),
        "queries": outcome.queries,
        "seconds": round(outcome.seconds, 3),
        "settings": {key: value for key, value in settings_of(step.attack).items() if value is not None},
    }
