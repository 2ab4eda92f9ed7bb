"""An engine under attack: what answers, what gives gradients, and the images that it is attacked on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.attacks.ball import Norm
from harness.attacks.black_box.projection import distances
from harness.attacks.victim import Victim, fooled
from harness.data.dataset import Images, Labels, Split
from harness.robustness.decisions import Scores

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable

_ROUNDING = 1e-7  # of a value moved by epsilon: what lies farther out no attack would return


@dataclass(frozen=True)
class Engagement:
    """Everything that attacks on one engine need.

    Attributes:
        infer: from images float32 (m, channels, height, width) to the engine's scores float32 (m, classes).
        sources: differentiable models by name, "float" and "twin": those that the engine was made from. The last is
            the engine's own function up to roundings. None where there is no gradient.
        split: the images that are evaluated, shape (n, channels, height, width).
        clean_decisions: the engine's, int64 (n,).
        norm: of the ball.
        epsilon: its radius, in units of the pixel range.
        seed: of all random draws.
        batch: images attacked at a time.
    """

    infer: Callable[[Images], Scores]
    sources: Mapping[str, Differentiable]
    split: Split
    clean_decisions: Labels
    norm: Norm
    epsilon: float
    seed: int
    batch: int

    @property
    def right(self) -> Labels:
        """Rows of the images that the engine gets right when clean: the others need no attack."""
        return np.flatnonzero(self.clean_decisions == self.split.labels)

    @property
    def own(self) -> str | None:
        """Name of the source that is the engine's own function; None without gradients."""
        return list(self.sources)[-1] if self.sources else None


class EngineVictim(Victim):
    """The engine as attacks see it while they work on one batch; it takes notes.

    Attributes:
        queries: images that it was shown; one that it decides about by majority counts once.
        claimed: bool (m,): the batch's images of which a version in the ball was seen to fool it.
        distances: float32 (m,): the smallest change seen to fool it, in or out of the ball; infinite where none did.
    """

    def __init__(self, engagement: Engagement, rows: Labels) -> None:
        """Take the batch of images with these rows of the split."""
        self._infer = engagement.infer
        self._images = engagement.split.images[rows]
        self._labels = engagement.split.labels[rows]
        self._norm, self._epsilon = engagement.norm, engagement.epsilon
        self.queries = 0
        self.claimed = np.zeros(len(rows), np.bool_)
        self.distances = np.full(len(rows), np.inf, np.float32)

    def scores(self, images: Images, rows: Labels) -> Scores:
        """Return the engine's scores, no view of its output buffer; see `Victim`."""
        self.queries += len(images)
        found = np.array(self._infer(images), np.float32)
        won = fooled(found, self._labels[rows])
        if won.any():
            self._note(images[won], rows[won])
        return found

    def _note(self, images: Images, rows: Labels) -> None:
        away = distances(images, self._images[rows], self._norm)
        np.minimum.at(self.distances, rows, away.astype(np.float32))
        self.claimed[rows[away <= self._epsilon + _ROUNDING]] = True
