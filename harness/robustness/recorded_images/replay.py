"""Adversarial images that were made elsewhere, shown to an engine: transfer where no gradients are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from harness.attacks.attack import BlackBox
from harness.attacks.ball import Ball, Norm
from harness.attacks.victim import Victim, fooled
from harness.data.dataset import Images, Labels

Array = npt.NDArray[Any]

FINAL = -1
"""The iterate of the image that an attack returned."""


@dataclass(frozen=True)
class RecordedImages:
    """Versions of a test split's first images that attacks along gradients came by: k of them.

    Attributes:
        images: float32 (k, channels, height, width), in [0, 1], each in the ball around its original.
        labels: int64 (k,).
        rows: int64 (k,), the original's place in the test split.
        iterate: int64 (k,), which of the iterates that an engine would have been shown, from 0; `FINAL` for the image
            that the attack returned.
        attack: str (k,), names.
        source: str (k,), the model whose gradients it followed: "float", "twin".
        epsilon: float64 (k,), radius of the ball, in units of the pixel range.
        norm: of every ball.
        samples: how many images of the split were looked at; those that both sources get wrong have no versions.
        seed: of all random draws.
        settings: every attack's hyper-parameters, by its name.
        data_sha256: digest of the data set.
        model_sha256: digest of the final checkpoint, which both sources are.
    """

    images: Images
    labels: Labels
    rows: Labels
    iterate: Labels
    attack: npt.NDArray[np.str_]
    source: npt.NDArray[np.str_]
    epsilon: npt.NDArray[np.float64]
    norm: Norm
    samples: int
    seed: int
    settings: Mapping[str, Mapping[str, Any]]
    data_sha256: str
    model_sha256: str

    @cached_property
    def order(self) -> Labels:
        """Every index, int64 (k,): image by image, larger balls first, of one ball what attacks returned first."""
        return np.lexsort((self.iterate != FINAL, -self.epsilon, self.rows)).astype(np.int64)

    def within(self, epsilon: float) -> Labels:
        """Return the indices of the versions whose ball is no larger, int64, in `order`."""
        return self.order[self.epsilon[self.order] <= epsilon]


@dataclass(frozen=True, kw_only=True)
class Recorded(BlackBox):
    """Every version of an image that was recorded for a ball no larger, one after the other until one fools the victim.

    An image without versions returns as it is. Nothing is drawn at random.

    Attributes:
        sha256: digest of the file.
        attacks: names of the attacks that made the images, with + between them.
        sources: names of the models that they followed, likewise.
    """

    name: ClassVar[str] = "recorded"

    sha256: str
    attacks: str
    sources: str
    stored: InitVar[RecordedImages]

    def __post_init__(self, stored: RecordedImages) -> None:
        object.__setattr__(self, "images", stored)  # no setting: settings are listed, copied and written

    images: ClassVar[RecordedImages]

    def run(self, victim: Victim, images: Array, labels: Array, ball: Ball, image_ids: Array, seed: int) -> Array:
        """Attack a batch whose ids are places in the test split; see `BlackBox`."""
        del seed
        usable = self.images.within(ball.epsilon)
        rows = self.images.rows[usable]
        first, end = (np.searchsorted(rows, image_ids, side) for side in ("left", "right"))
        found: Array = images.copy()
        nearest = np.full(len(images), np.inf, np.float32)
        left = np.flatnonzero(first < end)
        turn = 0
        while len(left) > 0:
            shown = self.images.images[usable[first[left] + turn]]
            scores = victim.scores(shown.copy(), left)
            won = fooled(scores, labels[left])
            margins = np.where(won, -np.inf, _leads(scores))
            nearer = margins < nearest[left]
            found[left[nearer]], nearest[left[nearer]] = shown[nearer], margins[nearer]
            turn += 1
            left = left[~won & (first[left] + turn < end[left])]
        return found


def _leads(scores: Array) -> Array:
    """Return how far each image's largest score is above its second, shape (m,)."""
    top = np.partition(scores, -2, axis=1)
    leads: Array = top[:, -1] - top[:, -2]
    return leads
