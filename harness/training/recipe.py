"""What a training run is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["standard", "n-fgsm", "pgd"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyper-parameters of SGD with Nesterov momentum and a one-cycle learning rate.

    Attributes:
        method: what the loss is taken on: clean images, N-FGSM's, or PGD's.
        epochs: passes over the training split.
        epsilon: radius of adversarial training, in pixel units.
        learning_rate: peak of the one-cycle schedule.
        batch_size: images a step at most; an epoch's batches are of equal size, because batch norm cannot take a last
            one of one image.
        weight_decay: L2 penalty.
        flip: mirror half of the images left to right.
        pgd_steps: gradient steps an image under `pgd`.
    """

    method: Method
    epochs: int
    epsilon: float
    learning_rate: float
    batch_size: int
    weight_decay: float
    flip: bool
    pgd_steps: int
