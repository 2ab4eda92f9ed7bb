"""The attacks that sanity rules add to those asked for, on a few images: other radii, more steps, a single step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from harness.attacks.apgd import APGD
from harness.attacks.attack import Attack
from harness.attacks.fgsm import FGSM
from harness.attacks.pgd import PGD
from harness.data.dataset import Labels
from harness.robustness.arms import LOOP, Step, attack_batch
from harness.robustness.engagement import Engagement

Mask = npt.NDArray[np.bool_]

Scaled = PGD | APGD
"""Attacks whose steps can be doubled and that know what to do at another radius."""


class ExtraAttacks:
    """Attacks in the arm `loop` on the probe; each runs when it is first asked for.

    All give a mask over the probe: which images the engine gets wrong in a pass of its own afterwards.

    Attributes:
        attack: what is run: the PGD that was asked for; otherwise Auto-PGD on the cross-entropy, with its settings
            where it was asked for. With a single start, which keeps the cost known.
    """

    def __init__(self, engagement: Engagement, asked: Sequence[Attack], probe: Labels) -> None:
        """Take the images of these rows of the split; the engagement has a source."""
        self._engagement, self._probe = engagement, probe
        self.attack = _probing(asked)

    @cached_property
    def one_step(self) -> Mask:
        """FGSM at the radius asked for."""
        return self._fooled(FGSM(), self._engagement.epsilon)

    @cached_property
    def as_asked(self) -> Mask:
        """The attack at the radius asked for."""
        return self._fooled(self.attack, self._engagement.epsilon)

    @cached_property
    def half_the_radius(self) -> Mask:
        """The attack at half the radius."""
        return self._scaled(self._engagement.epsilon / 2)

    @cached_property
    def large_radius(self) -> Mask:
        """The attack at `large_epsilon`."""
        return self._scaled(self.large_epsilon)

    @cached_property
    def twice_the_steps(self) -> Mask:
        """The attack with twice as many steps."""
        return self._fooled(replace(self.attack, steps=2 * self.attack.steps), self._engagement.epsilon)

    @property
    def large_epsilon(self) -> float:
        """A radius at which any model must fall, or the one asked for where it is larger.

        For Linf 0.5, from where a gray image can be reached; for L2 half of the diagonal, which reaches it too.
        """
        values = math.prod(self._engagement.split.images.shape[1:])
        large = 0.5 if self._engagement.norm == "linf" else math.sqrt(values) / 2
        return max(large, self._engagement.epsilon)

    def _scaled(self, epsilon: float) -> Mask:
        """Attack at another radius, with steps as long in relation to it."""
        attack = self.attack
        if isinstance(attack, PGD) and attack.step_size is not None:
            attack = replace(attack, step_size=attack.step_size * epsilon / self._engagement.epsilon)
        return self._fooled(attack, epsilon)

    def _fooled(self, attack: Attack, epsilon: float) -> Mask:
        engagement = replace(self._engagement, epsilon=epsilon)
        step = Step(LOOP, attack, engagement.own)
        found = np.zeros(len(self._probe), np.bool_)
        for at in range(0, len(self._probe), engagement.batch):
            rows = self._probe[at : at + engagement.batch]
            outcome = attack_batch(engagement, step, rows)
            found[at : at + len(rows)] = outcome.decisions != engagement.split.labels[rows]
        return found


def _probing(asked: Sequence[Attack]) -> Scaled:
    for attack in asked:
        if isinstance(attack, PGD):
            return replace(attack, restarts=1)
    for attack in asked:
        if type(attack) is APGD:
            return replace(attack, restarts=1)
    return APGD()
