"""Whether an engine gives an image the same scores wherever it stands: in each row, in each batch, after each build.

Kernels for other batch sizes add in another order, and the last bit may send a value to the next quantization step:
that is rounding, and within the limits of `agreement`. A row that is wrong is far beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from engines.checks.error import LARGEST
from engines.engine import Array, Engine

_TAIL = 3.0  # the largest of some hundred distances, over the root of their mean square
_SHOWN = 4


@dataclass(frozen=True)
class RowConsistency:
    """The same image in every row of a batch.

    Attributes:
        rows: of a batch, as many as the engine runs at a time.
        images: that filled a batch each.
        unequal: rows whose scores are not exactly those of the first row, of all batches together.
        largest: largest distance of a row's scores from the first row's, over the spread of the scores.
        limit: the largest that roundings explain.
    """

    rows: int
    images: int
    unequal: int
    largest: float
    limit: float

    def warning(self) -> str | None:
        """Return a sentence where rows differ by more than roundings."""
        if self.largest <= self.limit:
            return None
        return (
            f"the same image in every row of a batch of {self.rows} gets different scores ({self.unequal} of "
            f"{self.rows * self.images} rows differ from the first, by up to {self.largest:.2g} of the scores' "
            "spread): do not run this engine on batches"
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class BatchConsistency:
    """The same images one at a time and in batches.

    Attributes:
        batch: the larger batch size.
        images: compared.
        changed_decisions: images for which another class was decided.
        largest: largest distance of an image's scores, over the spread of the scores.
        limit: the largest that roundings explain.
    """

    batch: int
    images: int
    changed_decisions: int
    largest: float
    limit: float

    def warning(self) -> str | None:
        """Return a sentence where batches differ by more than roundings."""
        if self.largest <= self.limit:
            return None
        return (
            f"images get other scores in batches of {self.batch} than one at a time (by up to {self.largest:.2g} of "
            f"the scores' spread; {self.changed_decisions} of {self.images} decisions change): one of the two is wrong"
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class RebuildSpread:
    """Engines built several times from one graph.

    Attributes:
        builds: how many.
        images: compared.
        differing_decisions: images that not all builds decide alike.
        largest: largest distance of an image's scores between any two builds, over the spread of the scores.
        limit: the largest that roundings explain.
        files_differ: whether the builds' files differ.
    """

    builds: int
    images: int
    differing_decisions: int
    largest: float
    limit: float
    files_differ: bool

    def warning(self) -> str | None:
        """Return a sentence where builds differ by more than roundings."""
        if self.largest <= self.limit:
            return None
        return (
            f"{self.builds} builds of one graph differ by up to {self.largest:.2g} of the scores' spread, and in "
            f"{self.differing_decisions} of {self.images} decisions: keep and ship the files of the engine that was "
            "measured"
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def row_consistency(engine: Engine, images: Array, yardstick: float, limit: float) -> RowConsistency:
    """Fill batches with one image each and compare their rows.

    Args:
        engine: active.
        images: float32, shape (n, channels, height, width); the first few are used.
        yardstick: the `spread` of the scores.
        limit: the `error_limit` of the engine.
    """
    rows = engine.rows  # what it runs at a time, which may be less than it was loaded for
    shown = images[:_SHOWN]
    scores = [engine.infer(np.repeat(image[None], rows, axis=0)) for image in shown]
    return RowConsistency(
        rows=rows,
        images=len(shown),
        unequal=sum(int(np.any(batch != batch[:1], axis=1).sum()) for batch in scores),
        largest=max(_largest(batch, batch[:1], yardstick) for batch in scores),
        limit=_TAIL * limit,
    )


def batch_consistency(
    load: Callable[[int], Engine], images: Array, yardstick: float, limit: float, batch: int
) -> BatchConsistency:
    """Run images one at a time and in batches.

    Args:
        load: from a batch size to the engine, not yet active.
        images: float32, shape (n, channels, height, width).
        yardstick: the `spread` of the scores.
        limit: the `error_limit` of the engine.
        batch: the larger batch size.
    """
    with load(1) as engine:
        alone = engine.infer(images)
    with load(batch) as engine:
        together = engine.infer(images)
    return compared_batches(alone, together, yardstick, limit, batch)


def compared_batches(alone: Array, together: Array, yardstick: float, limit: float, batch: int) -> BatchConsistency:
    """As `batch_consistency`, of scores that are known: one at a time, and in batches."""
    return BatchConsistency(
        batch=batch,
        images=len(alone),
        changed_decisions=int(np.sum(alone.argmax(axis=1) != together.argmax(axis=1))),
        largest=_largest(together, alone, yardstick),
        limit=_TAIL * limit,
    )


def rebuild_spread(scores: Sequence[Array], digests: Sequence[str], yardstick: float, limit: float) -> RebuildSpread:
    """Compare engines that were built from one graph.

    Args:
        scores: of each build, shape (images, classes), for the same images.
        digests: of each build's files.
        yardstick: the `spread` of the reference's scores.
        limit: the `error_limit` of the engines.
    """
    decisions = np.stack([each.argmax(axis=1) for each in scores])
    pairs = combinations(scores, 2)
    return RebuildSpread(
        builds=len(scores),
        images=decisions.shape[1],
        differing_decisions=int(np.any(decisions != decisions[0], axis=0).sum()),
        largest=max((_largest(one, other, yardstick) for one, other in pairs), default=0.0),
        limit=_TAIL * limit,
        files_differ=len(set(digests)) > 1,
    )


def _largest(given: Array, expected: Array, yardstick: float) -> float:
    """Return the largest distance of a row from its counterpart, over the yardstick; always finite."""
    distance = float(np.linalg.norm(np.subtract(given, expected, dtype=np.float64), axis=1).max())
    if distance == 0:
        return 0.0
    return min(distance / yardstick, LARGEST) if yardstick > 0 and np.isfinite(distance) else LARGEST
