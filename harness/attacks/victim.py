"""What is to be fooled: something that gives scores of images, and whose gradient nobody asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.differentiable import Differentiable

Array = npt.NDArray[Any]


class Victim(ABC):
    """Scores of images; on NumPy arrays, so that a board without torch can attack its engine."""

    @abstractmethod
    def scores(self, images: Array, rows: Array) -> Array:
        """Return scores, float32, shape (m, classes), in an array that is the caller's own.

        Args:
            images: float32, shape (m, channels, height, width), in [0, 1].
            rows: int64, shape (m,): which images of the attacked batch these are versions of.
        """

    def estimate(self, images: Array, rows: Array) -> Array | None:
        """Return rounded scores where those are to be had for less; None where they are not. Arguments as of `scores`.

        An attack may leave a point at that which does not look promising; whatever it keeps has `scores`.
        """
        del images, rows
        return None


class FunctionVictim(Victim):
    """A function from images to scores, on NumPy arrays."""

    def __init__(self, function: Callable[[Array], Any]) -> None:
        self._function = function

    def scores(self, images: Array, rows: Array) -> Array:
        """Return the function's scores; see `Victim`. It may write to what it is given, as a normalisation may."""
        del rows
        return np.array(self._function(images.copy()), np.float32)


class ModelVictim(Victim):
    """A torch model, whose estimates are those of its half precision."""

    def __init__(self, model: Differentiable) -> None:
        self._model = model

    def scores(self, images: Array, rows: Array) -> Array:
        """Return the model's logits in its own precision; see `Victim`."""
        del rows
        return self._model.logits(self._tensor(images)).cpu().numpy()

    def estimate(self, images: Array, rows: Array) -> Array | None:
        """Return the logits in half precision, where the model has one; see `Victim`."""
        del rows
        return None if self._model.half is None else self._model.rounded_logits(self._tensor(images)).cpu().numpy()

    def _tensor(self, images: Array) -> Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(images)).to(self._model.device)


def fooled(scores: Array, labels: Array) -> Array:
    """Return where another class than the label's has the largest score, or a score is not finite, shape (m,)."""
    wrong: Array = (scores.argmax(axis=1) != labels) | ~np.isfinite(scores).all(axis=1)
    return wrong
