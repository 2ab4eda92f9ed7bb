"""The one attack that models are compared by before there is an engine: for calibration, sensitivity, attribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.attacks.attack import BlackBox
from harness.attacks.ball import Norm
from harness.attacks.registry import attack, expanded, needs_gradient, settings_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from torch import nn

    from harness.attacks.attack import Attack
    from harness.workflow.experiment import Experiment

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class JudgingAttack:
    """An attack with all that decides what it does.

    Attributes:
        attack: with its hyper-parameters.
        norm: of the ball.
        epsilon: its radius, in units of the pixel range.
        seed: of all random draws.
        gradients: the experiment's `eval.gradients`.
    """

    attack: Attack | BlackBox
    norm: Norm
    epsilon: float
    seed: int
    gradients: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the outcome, as JSON values."""
        return {
            "attack": self.attack.name,
            "hyper_parameters": settings_of(self.attack),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "gradients": self.gradients,
        }

    def __call__(self, model: nn.Module, images: Array, labels: Array, image_ids: Array) -> Array:
        """Return a model's adversarial images; see `adversarial_images`."""
        from harness.attacks.run import adversarial_images

        return adversarial_images(
            self.attack,
            model,
            images,
            labels,
            epsilon=self.epsilon,
            norm=self.norm,
            image_ids=image_ids,
            seed=self.seed,
            half=self._half(),
        )

    def at_full_strength(self, model: nn.Module, images: Array, labels: Array, image_ids: Array) -> Array:
        """Return images after the attack's last step, also of those that fooled the model before, or when clean.

        An attack that only asks stops there all the same: it moves every image before it asks.
        """
        if isinstance(self.attack, BlackBox):
            return self(model, images, labels, image_ids)
        import torch

        from harness.attacks.differentiable import Differentiable
        from harness.attacks.target import Blind

        pixels, classes, ids = (torch.from_numpy(np.ascontiguousarray(given)) for given in (images, labels, image_ids))
        target = Blind(Differentiable(model, self._half()))
        found = self.attack(
            target, pixels, classes, epsilon=self.epsilon, norm=self.norm, image_ids=ids, seed=self.seed
        )
        return found.numpy()

    def _half(self) -> torch.dtype | None:
        import torch

        from harness.devices.half_precision import half_type

        return half_type(self.gradients, torch.device("cpu"))


def judging_attack(experiment: Experiment, epsilon: float | None = None) -> JudgingAttack:
    """Return the first attack of the experiment that follows gradients, or its first one, at its first epsilon."""
    names = expanded(experiment.eval.attack)
    name = next((each for each in names if needs_gradient(each)), names[0])
    made = attack(name, experiment.attack.get(name, {}))
    asked = experiment.eval
    return JudgingAttack(made, asked.norm, epsilon or asked.epsilon[0], experiment.seed, asked.gradients)
