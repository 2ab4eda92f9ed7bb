"""What a training run is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from contracts.errors import InputError, unknown_name

Method = Literal["standard", "n-fgsm", "fgsm-rs", "pgd", "trades"]
Schedule = Literal["one-cycle", "cosine", "step", "constant"]
Keep = Literal["best", "last"]
Precision = Literal["auto", "float32"]

METHODS: tuple[Method, ...] = get_args(Method)
"""What each does stands in `harness.training.methods`, which needs torch."""

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyper-parameters of SGD with Nesterov momentum 0.9, on clean or on perturbed images.

    Attributes:
        method: what the loss is taken on: clean images, or those of an adversarial method.
        epochs: passes over the images that are trained on.
        epsilon: Linf radius of adversarial training and of robust validation, in pixel units.
        learning_rate: the largest of the schedule.
        schedule: how the learning rate goes on from step to step; see `harness.training.schedule`.
        batch_size: images a step at most; an epoch's batches are of equal size, because batch norm cannot take a last
            one of one image.
        weight_decay: L2 penalty.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        flip: mirror half of the images left to right.
        crop: shift every image by up to that many pixels each way and fill with zeros; 0 shifts none.
        ema_decay: of the exponential moving average of the weights, in [0, 1), which is what is validated and returned;
            0 takes none.
        pgd_steps: gradient steps an image under `pgd` and `trades`.
        trades_beta: weight of the divergence beside the loss on clean images, under `trades`.
        gradient_clip: largest norm of all gradients together; 0 clips none.
        precision: "auto" computes in bfloat16 where the machine has it in hardware, with float32 weights and losses.
        validation_samples: images of the split that are kept from training to judge every epoch, a tenth of the split
            at most; 0 keeps none.
        keep: which epoch's weights are returned: the last one's, or those of the highest accuracy on the validation
            images, robust where the method is adversarial, the later of two equals; without such images, the last.
    """

    method: Method
    epochs: int
    epsilon: float
    learning_rate: float
    schedule: Schedule = "one-cycle"
    batch_size: int
    weight_decay: float
    label_smoothing: float = 0.0
    flip: bool = False
    crop: int = 0
    ema_decay: float = 0.0
    pgd_steps: int = 7
    trades_beta: float = 6.0
    gradient_clip: float = 1.0
    precision: Precision = "auto"
    validation_samples: int
    keep: Keep = "best"

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for name in ("epochs", "batch_size", "pgd_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("crop", "validation_samples", "gradient_clip", "trades_beta"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("ema_decay", "label_smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")

    @property
    def adversarial(self) -> bool:
        """Whether the loss is taken on perturbed images."""
        return self.method != "standard"
