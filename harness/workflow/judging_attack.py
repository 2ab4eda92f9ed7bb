"""The attacks that models are judged by themselves: one for calibration, sensitivity, attribution; all for twins."""

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


@dataclass(frozen=True)
class Together:
    """Attacks that count together: each is made on the images that the ones before it left standing.

    Attributes:
        name: of the set, or of its members.
        members: of one norm, epsilon and seed, in their order.
    """

    name: str
    members: tuple[JudgingAttack, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the outcome, as JSON values; of one attack, its own."""
        if len(self.members) == 1:
            return self.members[0].settings
        each = {member.attack.name: member.settings["hyper_parameters"] for member in self.members}
        return {**self.members[0].settings, "attack": self.name, "hyper_parameters": each}

    def __call__(self, model: nn.Module, images: Array, labels: Array, image_ids: Array) -> Array:
        """Return a model's adversarial images: the first that fools it, else the last attack's."""
        from harness.robustness.decisions import decisions_of, model_scores

        found: Array = images.copy()
        standing = np.arange(len(images))
        for member in self.members:
            attacked = member(model, images[standing], labels[standing], image_ids[standing])
            found[standing] = attacked
            standing = standing[decisions_of(model_scores(model), attacked, lambda _: None) == labels[standing]]
            if not len(standing):
                break
        return found


def judging_attacks(experiment: Experiment, epsilon: float) -> Together:
    """Return every attack of the experiment, which follows the model's gradients or asks it, as its kind is."""
    members = tuple(_judging(experiment, name, epsilon) for name in expanded(experiment.eval.attack))
    return Together("+".join(experiment.eval.attack), members)


def judging_attack(experiment: Experiment, epsilon: float | None = None) -> JudgingAttack:
    """Return the first attack of the experiment that follows gradients, or its first one, at its first epsilon."""
    names = expanded(experiment.eval.attack)
    name = next((each for each in names if needs_gradient(each)), names[0])
    return _judging(experiment, name, epsilon or experiment.eval.epsilon[0])


def _judging(experiment: Experiment, name: str, epsilon: float) -> JudgingAttack:
    made, asked = attack(name, experiment.attack.get(name, {})), experiment.eval
    return JudgingAttack(made, asked.norm, epsilon, experiment.seed, asked.gradients)
