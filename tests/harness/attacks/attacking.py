"""Attacks with the seed and the radius of these tests, and targets that tell what an attack did."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.attacks.attack import Attack
from harness.attacks.ball import Norm
from harness.attacks.differentiable import Differentiable, Model
from harness.attacks.target import Blind, Target
from harness.attacks.victim import Array, Victim

Wins = Callable[[Tensor, int], Tensor]
"""Rows (m,) and the number of the look, from 1, to a mask (m,)."""


def attacked(
    way: Attack,
    target: Target | Model,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 0.1,
    norm: Norm = "linf",
    ids: Tensor | None = None,
) -> Tensor:
    """Return adversarial images."""
    return way(target, images, labels, epsilon=epsilon, norm=norm, image_ids=ids, seed=3)


def blind(model: Model) -> Blind:
    """Return a target that no image fools, so that an attack goes all its way."""
    return Blind(Differentiable(model))


def nobody(rows: Tensor, look: int) -> Tensor:
    """Let no image win."""
    return torch.zeros(len(rows), dtype=torch.bool)


class Watched(Target):
    """Keeps what it was shown, and lets win whom it is told to.

    Attributes:
        shown: the images of every look.
        rows: their rows.
        winners: rows that won, and the images with which they did.
    """

    def __init__(self, model: Model, wins: Wins = nobody) -> None:
        super().__init__(Differentiable(model))
        self._wins = wins
        self.shown: list[Tensor] = []
        self.rows: list[list[int]] = []
        self.winners: dict[int, Tensor] = {}

    def look(
        self, images: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Keep and decide; see `Target.look`."""
        del last
        self.shown.append(images.clone())
        self.rows.append(rows.tolist())
        won = self._wins(rows, len(self.shown))
        self.winners.update({int(row): image.clone() for row, image in zip(rows[won], images[won], strict=True)})
        return (self.model.logits(images) if logits is None else logits), won


class TorchVictim(Victim):
    """A model that is asked as an engine is; keeps the rows that it was asked about."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.rows: list[list[int]] = []

    def scores(self, images: Array, rows: Array) -> Array:
        """Return the model's logits; see `Victim`."""
        self.rows.append(rows.tolist())
        with torch.no_grad():
            found: Array = self._model(torch.from_numpy(images)).numpy()
        return found
