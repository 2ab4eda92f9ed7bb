"""The protocol: every step on the images that its arm has left standing, a batch at a time, each batch kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Images, Labels
from harness.progress import Progress
from harness.robustness.arms import BatchOutcome, Step, attack_batch
from harness.robustness.engagement import Engagement
from harness.robustness.journal import BatchRecord, Journal

SHOWN = 8
"""How many images of an attack a report shows."""


@dataclass(frozen=True)
class StepOutcome:
    """What one attack of an arm found.

    Attributes:
        step: the attack.
        attacked: images that were left to it.
        turned: int64, rows of those that fooled the engine, in the split's order.
        queries: images shown to the engine.
        wavering: images that fooled the engine during the attack and not in the final pass.
        seconds: wall time.
        shown: int64, the first at most eight of `turned`.
        adversarial: float32, those images' adversarial versions.
    """

    step: Step
    attacked: int
    turned: Labels
    queries: int
    wavering: int
    seconds: float
    shown: Labels
    adversarial: Images


@dataclass(frozen=True)
class ArmOutcome:
    """What one arm found.

    Attributes:
        name: of the arm.
        decisions: int64 (n,), the engine's of each image's adversarial version; of an image that it got wrong when
            clean, and that was not attacked, the clean one.
        distances: float32 (n,), the smallest change seen to fool the engine, infinite where none did.
        steps: in the order in which they ran.
    """

    name: str
    decisions: Labels
    distances: npt.NDArray[np.float32]
    steps: tuple[StepOutcome, ...]

    @property
    def queries(self) -> int:
        """Images shown to the engine."""
        return sum(step.queries for step in self.steps)

    @property
    def wavering(self) -> int:
        """Images that fooled the engine during an attack and not in its final pass."""
        return sum(step.wavering for step in self.steps)

    @property
    def seconds(self) -> float:
        """Wall time, also of a run that was killed."""
        return sum(step.seconds for step in self.steps)


def run(
    engagement: Engagement, steps: Sequence[Step], journal: Journal, progress: Progress, title: str
) -> tuple[ArmOutcome, ...]:
    """Run the steps, those of one arm one after the other on what the arm has not turned yet.

    Args:
        engagement: the engine under attack.
        steps: in order, those of one arm together.
        journal: of batches that are finished already, and of those that will be.
        progress: shows the time left of each step.
        title: names the work on the bars.
    """
    arms: dict[str, _Arm] = {}
    for number, step in enumerate(steps):
        arm = arms.setdefault(step.arm, _Arm(engagement))
        left = arm.standing()
        with progress.bar(f"{title}: {step.arm}, {step.title}", len(left)) as advance:
            records = []
            for record in _batches(engagement, step, left, journal, f"{number:02d}-{step.arm}-{step.attack.name}"):
                arm.take(record)
                records.append(record)
                advance(len(record.rows))
        arm.steps.append(_outcome(engagement, step, records))
    return tuple(ArmOutcome(name, arm.decisions, arm.distances, tuple(arm.steps)) for name, arm in arms.items())


class _Arm:
    """What an arm knows so far."""

    def __init__(self, engagement: Engagement) -> None:
        self._labels = engagement.split.labels
        self.decisions = engagement.clean_decisions.copy()
        self.distances = np.full(len(self.decisions), np.inf, np.float32)
        self.distances[self.decisions != self._labels] = 0.0
        self.steps: list[StepOutcome] = []

    def standing(self) -> Labels:
        return np.flatnonzero(self.decisions == self._labels)

    def take(self, record: BatchRecord) -> None:
        self.decisions[record.rows] = record.decisions
        self.distances[record.rows] = np.minimum(self.distances[record.rows], record.distances)


def _batches(engagement: Engagement, step: Step, rows: Labels, journal: Journal, name: str) -> Iterator[BatchRecord]:
    for number, start in enumerate(range(0, len(rows), engagement.batch)):
        batch = rows[start : start + engagement.batch]
        record = journal.recall(f"{name}-{number:04d}")
        if record is None or not np.array_equal(record.rows, batch):
            record = _attacked(engagement, step, batch)
            journal.keep(f"{name}-{number:04d}", record)
        yield record


def _attacked(engagement: Engagement, step: Step, rows: Labels) -> BatchRecord:
    started = time.monotonic()
    found: BatchOutcome = attack_batch(engagement, step, rows)
    first = np.flatnonzero(found.decisions != engagement.split.labels[rows])[:SHOWN]
    return BatchRecord(
        rows=rows,
        decisions=found.decisions,
        distances=found.distances,
        shown=rows[first],
        adversarial=found.adversarial[first],
        queries=found.queries,
        wavering=found.wavering,
        seconds=time.monotonic() - started,
    )


def _outcome(engagement: Engagement, step: Step, records: Sequence[BatchRecord]) -> StepOutcome:
    empty = np.empty(0, np.int64)
    rows = np.concatenate([empty, *(record.rows for record in records)])
    decisions = np.concatenate([empty, *(record.decisions for record in records)])
    images = [np.empty((0, *engagement.split.images.shape[1:]), np.float32), *(r.adversarial for r in records)]
    return StepOutcome(
        step=step,
        attacked=len(rows),
        turned=rows[decisions != engagement.split.labels[rows]],
        queries=sum(record.queries for record in records),
        wavering=sum(record.wavering for record in records),
        seconds=sum(record.seconds for record in records),
        shown=np.concatenate([empty, *(record.shown for record in records)])[:SHOWN],
        adversarial=np.concatenate(images)[:SHOWN],
    )
