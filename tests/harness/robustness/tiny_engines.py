"""Engines of a few lines of NumPy, simulated: what they decide is known, and they count what they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.attacks.attack import BlackBox
from harness.attacks.ball import Ball, Norm
from harness.attacks.victim import Victim
from harness.data.dataset import Images, Split
from harness.robustness.decisions import Scores, decide
from harness.robustness.engagement import Engagement

Array = npt.NDArray[Any]
Function = Callable[[Images], Scores]

EPSILON = 0.1


class Counted:
    """An engine that is a function; counts questions and images, and may break down at a question."""

    def __init__(self, scores: Function, breaks_at: int | None = None) -> None:
        self.scores, self.breaks_at = scores, breaks_at
        self.calls = self.shown = 0

    def __call__(self, images: Images) -> Scores:
        """Return scores."""
        if self.calls == self.breaks_at:
            raise ConnectionError("the engine broke down")
        self.calls += 1
        self.shown += len(images)
        return self.scores(images)


class Moved(BlackBox):
    """Asks once about images that are brighter by an amount, whatever the ball, and returns them or others."""

    name = "moved"

    def __init__(self, amount: float, returned: float | None = None) -> None:
        self.amount, self.returned = amount, amount if returned is None else returned
        self.ids: list[list[int]] = []

    def run(self, victim: Victim, images: Array, labels: Array, ball: Ball, image_ids: Array, seed: int) -> Array:
        """Attack a batch; see `BlackBox`."""
        self.ids.append(image_ids.tolist())
        victim.scores((images + np.float32(self.amount)).clip(0, 1), np.arange(len(images)))
        moved: Array = (images + np.float32(self.returned)).clip(0, 1)
        return moved


def brightness(threshold: float = 0.5) -> Function:
    """Class 1 is what is brighter than the threshold."""

    def scores(images: Images) -> Scores:
        margin = images.mean((1, 2, 3), np.float64) - threshold
        return np.stack([-margin, margin], 1).astype(np.float32)

    return scores


def window(images: Images) -> Scores:
    """Class 1 only between 0.53 and 0.56: an attack that goes on walks out on the other side."""
    mean = images.mean((1, 2, 3))
    inside = (mean > 0.53) & (mean < 0.56)
    return np.stack([~inside, inside], 1).astype(np.float32)


def grey(values: Sequence[float]) -> Split:
    """Return flat images of these greys; the class is whether they are brighter than 0.5."""
    images = np.broadcast_to(np.array(values, np.float32)[:, None, None, None], (len(values), 1, 2, 2)).copy()
    return Split(images, (np.array(values) > 0.5).astype(np.int64))


def engaged(
    engine: Function,
    split: Split,
    sources: Mapping[str, Any] | None = None,
    *,
    epsilon: float = EPSILON,
    norm: Norm = "linf",
    batch: int = 100,
    clean: Array | None = None,
) -> Engagement:
    """Return an engine and images before any attack; `clean` are its decisions, by default what it says now."""
    decided = decide(engine(split.images)) if clean is None else clean
    return Engagement(engine, sources or {}, split, decided, norm, epsilon, seed=0, batch=batch)
