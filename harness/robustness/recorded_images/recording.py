"""Recording: attacks on the models that engines are made from, and the images that an engine would be shown.

Nobody judges while it is recorded, so that attacks go on to their last step as they would against an engine that stands
everything. Of every image, attack and source the few versions are kept that the source is least sure of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.attacks.attack import Attack
from harness.attacks.ball import Ball, Norm
from harness.attacks.black_box.projection import TOLERANCE, distances
from harness.attacks.victim import Victim
from harness.data.dataset import Images, Labels, Split
from harness.progress import Progress
from harness.robustness.arms import SHOWN_EVERY
from harness.robustness.decisions import decide
from harness.robustness.recorded_images.replay import FINAL
from harness.robustness.sanity.asking import source_logits

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable

Array = npt.NDArray[Any]

KEPT = 4
"""Versions kept of an image, attack and source."""

_EMPTY = -2  # the iterate of a place that holds nothing yet


@dataclass(frozen=True)
class Recording:
    """What to record.

    Attributes:
        sources: differentiable models by name.
        attacks: along gradients.
        split: the images, shape (n, channels, height, width).
        norm: of the balls.
        epsilons: their radii, in units of the pixel range.
        seed: of all random draws.
        batch: images attacked at a time.
        kept: versions of an image, attack and source, at most.
    """

    sources: Mapping[str, Differentiable]
    attacks: Sequence[Attack]
    split: Split
    norm: Norm
    epsilons: Sequence[float]
    seed: int
    batch: int
    kept: int = KEPT

    def right(self) -> Labels:
        """Return the rows of the images that any source gets right: the others need no attack."""
        found = np.zeros(len(self.split), np.bool_)
        for source in self.sources.values():
            found |= decide(source_logits(source, self.split.images, self.batch)) == self.split.labels
        return np.flatnonzero(found)

    def run(self, progress: Progress) -> dict[str, Array]:
        """Attack, and return the arrays of `RecordedImages`."""
        rows = self.right()
        parts = []
        for epsilon in self.epsilons:
            for attack in self.attacks:
                for name, source in self.sources.items():
                    with progress.bar(f"{attack.name} {epsilon:g} on {name}", len(rows)) as advance:
                        for part in self._versions(attack, source, rows, Ball(self.norm, epsilon)):
                            count = len(part["rows"])
                            part["attack"] = np.full(count, attack.name)
                            part["source"] = np.full(count, name)
                            part["epsilon"] = np.full(count, epsilon)
                            parts.append(part)
                            advance(self.batch)
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}

    def _versions(self, attack: Attack, source: Differentiable, rows: Labels, ball: Ball) -> Iterator[dict[str, Array]]:
        import torch

        from harness.attacks.target import Replay

        for start in range(0, len(rows), self.batch):
            batch = rows[start : start + self.batch]
            images, labels = self.split.images[batch], self.split.labels[batch]
            recorder = Recorder(source, images, labels, ball, self.kept)
            pixels, classes, ids = (
                torch.from_numpy(np.ascontiguousarray(array)).to(source.device) for array in (images, labels, batch)
            )
            found = attack(
                Replay(source, recorder, SHOWN_EVERY),
                pixels,
                classes,
                epsilon=ball.epsilon,
                norm=ball.norm,
                image_ids=ids,
                seed=self.seed,
            )
            recorder.end(np.ascontiguousarray(found.cpu().numpy()))
            versions, places, iterate = recorder.versions()
            yield {"images": versions, "labels": labels[places], "rows": batch[places], "iterate": iterate}


class Recorder(Victim):
    """A victim that nothing fools; it keeps the versions in the ball that the source is least sure of, each once."""

    def __init__(self, source: Differentiable, images: Images, labels: Labels, ball: Ball, kept: int) -> None:
        """Take a batch of n images.

        Args:
            source: whose margins decide what is kept.
            images: float32 (n, channels, height, width), clean.
            labels: int64 (n,).
            ball: what lies outside is not kept.
            kept: versions an image, at most; at least 1.
        """
        self._source, self._images, self._labels, self._ball = source, images, labels, ball
        self._versions = np.zeros((len(images), kept, *images.shape[1:]), np.float32)
        self._margins = np.full((len(images), kept), np.inf, np.float32)
        self._iterates = np.full((len(images), kept), _EMPTY, np.int64)
        self._shown = np.zeros(len(images), np.int64)

    def scores(self, images: Array, rows: Array) -> Array:
        """Return scores that are all the label's; see `Victim`."""
        margins, classes = self._judged(images, rows)
        moved = distances(images, self._images[rows], self._ball.norm)
        known = self._places(images, rows).any(axis=1)
        worst = self._margins[rows].argmax(axis=1)
        take = (moved <= self._ball.epsilon + TOLERANCE) & ~known & (margins < self._margins[rows, worst])
        self._put(images[take], rows[take], worst[take], margins[take], self._shown[rows[take]])
        self._shown[rows] += 1
        scores: Array = np.eye(classes, dtype=np.float32)[self._labels[rows]]
        return scores

    def end(self, images: Images) -> None:
        """Keep what the attack returned, float32 (n, channels, height, width), whatever the margins."""
        rows = np.arange(len(images))
        margins, _ = self._judged(images, rows)
        known = self._places(images, rows)
        places = np.where(known.any(axis=1), known.argmax(axis=1), self._margins.argmax(axis=1))
        self._put(images, rows, places, margins, np.full(len(images), FINAL))

    def versions(self) -> tuple[Images, Labels, Labels]:
        """Return k versions, image by image and the smallest margin first: images, places in the batch, iterates."""
        order = self._margins.argsort(axis=1, kind="stable")
        rows = np.repeat(np.arange(len(order)), order.shape[1])
        slots = order.reshape(-1)
        filled = self._iterates[rows, slots] != _EMPTY
        rows, slots = rows[filled], slots[filled]
        return self._versions[rows, slots], rows, self._iterates[rows, slots]

    def _judged(self, images: Array, rows: Array) -> tuple[Array, int]:
        """Return the source's margins, shape (m,), minus infinity where scores are not finite; and its classes."""
        import torch

        from harness.attacks.target import margins

        device = self._source.device
        logits = self._source.logits(torch.from_numpy(images).to(device))
        found: Array = margins(logits, torch.from_numpy(self._labels[rows]).to(device)).cpu().numpy()
        return np.where(np.isfinite(found), found, -np.inf).astype(np.float32), logits.shape[1]

    def _places(self, images: Array, rows: Array) -> Array:
        """Return which places hold exactly these images, bool (m, kept)."""
        same = (self._versions[rows] == images[:, None]).all(axis=(2, 3, 4))
        places: Array = same & (self._iterates[rows] != _EMPTY)
        return places

    def _put(self, images: Array, rows: Array, places: Array, margins: Array, iterates: Array) -> None:
        self._versions[rows, places] = images
        self._margins[rows, places] = margins
        self._iterates[rows, places] = iterates
