"""FAB-T, the fast adaptive boundary attack (Croce and Hein 2020, arXiv 1907.02044), targeted as in AutoAttack.

It does not climb inside a ball but looks for the nearest point behind the boundary, whatever its Linf or L2 distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from contracts.errors import InputError
from harness.attacks.apgd import APGDT
from harness.attacks.attack import Attack
from harness.attacks.ball import Ball
from harness.attacks.hyperplane import shortest_step

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.target import Target

_SHORTEST = 1e-8  # of the distances whose ratio says how far to turn back towards the image


@dataclass(frozen=True, kw_only=True)
class FABT(Attack):
    """A walk along the boundary to each of the targets: on to where the linearised logits meet, and back on success.

    Every point of a walk inside the ball counts. A walk goes on after a success, towards a nearer one; an image that
    fooled the target in one is not walked again and returned as it was at its nearest success. Any other is returned as
    the nearest point behind the boundary, drawn into the ball; where there was none, unchanged.

    Attributes:
        steps: of a walk; each costs a gradient and the logits of one more point.
        restarts: walks to each target: the first from the image, the others from random points half of epsilon away.
        targets: as of `APGDT`: wrong classes an image is driven to; all where there are fewer.
        alpha_max: largest share of a step that is drawn towards the image, 0 to 1.
        eta: how far steps overshoot the hyperplane, at least 1.
        beta: what is left of the way from the image after a step back, above 0 and below 1.
    """

    name: ClassVar[str] = "fab-t"
    seeks_nearest: ClassVar[bool] = True

    steps: int = 100
    restarts: int = 1
    targets: int = 9
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def __post_init__(self) -> None:
        section = f"attack.{self.name}"
        for setting in ("steps", "restarts", "targets"):
            if getattr(self, setting) < 1:
                raise InputError(f"{section}: {setting} must be at least 1, got {getattr(self, setting)}")
        if not 0.0 <= self.alpha_max <= 1.0:
            raise InputError(f"{section}: alpha_max must be between 0 and 1, got {self.alpha_max}")
        if not 1.0 <= self.eta < math.inf:
            raise InputError(f"{section}: eta must be finite and at least 1, got {self.eta}")
        if not 0.0 < self.beta < 1.0:
            raise InputError(f"{section}: beta must be above 0 and below 1, got {self.beta}")

    def run(self, target: Target, images: Tensor, labels: Tensor, ball: Ball, image_ids: Tensor, seed: int) -> Tensor:
        """Attack a batch; see `Attack`."""
        import torch

        found = images.clone()
        nearest = torch.full((len(images),), math.inf, device=images.device)
        standing = torch.arange(len(images), device=images.device)
        standing = standing[~target.look(images, labels, standing)[1]]
        runs = [aims for aims in APGDT(targets=self.targets).aims(target, images, labels) for _ in range(self.restarts)]
        for run, aims in enumerate(runs):
            if len(standing) == 0:
                break
            start = clean = images[standing]
            if run % self.restarts > 0:
                start = Ball(ball.norm, ball.epsilon / 2).random_surface_point(clean, image_ids[standing], seed, run)
            end = _Walk(self, target, clean, aims[standing], standing, start, ball).run()
            better = end.fooled | (end.distances < nearest[standing])
            found[standing[better]] = end.images[better]
            nearest[standing[better]] = end.distances[better]
            standing = standing[~end.fooled]
        return found


@dataclass(frozen=True)
class _Nearest:
    """The nearest points of a walk.

    Attributes:
        images: float32, shape (n, channels, height, width), inside the ball.
        distances: shape (n,): of the points before they were drawn into the ball; infinite where there was none.
        fooled: shape (n,): which of them fooled the target.
    """

    images: Tensor
    distances: Tensor
    fooled: Tensor


class _Walk:
    """Images on the way to one target each, all at the same step."""

    def __init__(
        self, settings: FABT, target: Target, images: Tensor, aims: Tensor, rows: Tensor, start: Tensor, ball: Ball
    ) -> None:
        """Stand at the start; `aims` are labels and targets, int64, shape (n, 2), the others as of `Ascent`."""
        import torch

        self._settings, self._target, self._ball = settings, target, ball
        self._images, self._aims, self._rows = images, aims, rows
        self._current = self._seen = start
        # The lead that was looked at, where it stands in for the lead of the gradient's logits. They are rounded, or
        # another model's: a wrong sign of theirs would hold an image in front of the boundary for good.
        self._led = torch.full((len(images),), math.nan, device=images.device)
        nowhere = torch.full((len(images),), math.inf, device=images.device)
        none = torch.zeros_like(rows, dtype=torch.bool)
        self._crossing = _Nearest(images.clone(), nowhere, none)
        self._success = _Nearest(images.clone(), nowhere.clone(), none.clone())

    def run(self) -> _Nearest:
        """Walk to the end."""
        for _ in range(self._settings.steps):
            self._move()
            self._judge()
        return self._end()

    def _move(self) -> None:
        """Step behind the hyperplane where the linearised logits of label and target meet, drawn to the image."""
        here, images, settings = self._current, self._images, self._settings
        logits, gradient = self._target.gradient(here, self._lead)
        gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
        lead = self._led - (gradient * (self._seen - here)).sum((1, 2, 3))
        gaps = -lead.where(lead.isfinite(), self._lead(logits)).nan_to_num(0.0, 0.0, 0.0)
        ahead = shortest_step(here, gradient, gaps, self._ball.norm)
        gaps = gaps + (gradient * (here - images)).sum((1, 2, 3))
        aside = shortest_step(images, gradient, gaps, self._ball.norm)
        one, other = (self._ball.distances(way, way.new_zeros(())).clamp_(min=_SHORTEST) for way in (ahead, aside))
        alpha = (one / (one + other)).clamp_(max=settings.alpha_max)[:, None, None, None]
        there = here + settings.eta * ahead
        self._current = there.lerp_(images + settings.eta * aside, alpha).clamp_(0.0, 1.0)

    def _lead(self, logits: Tensor) -> Tensor:
        """Return how far the target's logit is above the label's, shape (m,)."""
        both = logits.gather(1, self._aims)
        return both[:, 1] - both[:, 0]

    def _judge(self) -> None:
        """Keep the nearest points, and step back from those behind the boundary."""
        here, labels, target = self._current, self._aims[:, 0], self._target
        # No rounded logits: they would lead along a boundary of their own, and nearly all would be looked at again.
        logits, won = target.look(here, labels, self._rows)
        crossed = logits.argmax(1) != labels
        distances = self._ball.distances(here, self._images)
        self._keep(self._crossing, crossed, distances)
        inside = won & (distances <= self._ball.epsilon)
        self._keep(self._success, inside, distances)
        self._success.fooled.logical_or_(inside)
        self._seen, self._led = here, self._lead(logits)
        if target.follows:
            self._led.masked_fill_(crossed, math.nan)
        left = distances.new_ones(()).where(~crossed, self._settings.beta)
        self._current = self._images.lerp(here, left[:, None, None, None])

    def _keep(self, nearest: _Nearest, these: Tensor, distances: Tensor) -> None:
        nearer = these & (distances < nearest.distances)
        nearest.images[nearer] = self._current[nearer]
        nearest.distances[nearer] = distances[nearer]

    def _end(self) -> _Nearest:
        """Return the nearest successes; of the other images what came nearest, shown to the target inside the ball."""
        end, crossing = self._success, self._crossing
        left = ~end.fooled
        if left.any():
            end.images[left] = self._ball.project(crossing.images[left], self._images[left])
            end.distances[left] = crossing.distances[left]
            labels, rows = self._aims[left, 0], self._rows[left]
            end.fooled[left] = self._target.look(end.images[left], labels, rows, last=True)[1]
        return end
