"""What a training run tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        number: from 1.
        loss: mean over the images, of the loss that was trained on.
        clean: accuracy on the validation images after it; None without such images.
        robust: the same under PGD; None for standard training too.
        single_step: accuracy on the training images as a single-step method perturbed them, during the epoch; None for
            other methods.
        seconds: wall time, validation included.
    """

    number: int
    loss: float
    clean: float | None
    robust: float | None
    single_step: float | None
    seconds: float

    @property
    def score(self) -> float | None:
        """What the epoch is judged by: robust accuracy where there is one, or the clean one."""
        return self.clean if self.robust is None else self.robust


@dataclass(frozen=True)
class Trained:
    """The outcome beside the weights, which are in the model.

    Attributes:
        loss: mean of the last epoch.
        kept_epoch: whose weights the model has, from 1.
        epochs: all, in their order; one that was undone is not among them.
        validation_ids: places in the split of the images that were not trained on, sorted.
        gradient_passes: passes through the network with a backward pass, for every image trained on: of training, of
            the search for perturbed images, and of validation's attacks, an epoch that was undone included.
        warnings: a sentence each.
    """

    loss: float
    kept_epoch: int
    epochs: tuple[Epoch, ...]
    validation_ids: tuple[int, ...]
    gradient_passes: float
    warnings: tuple[str, ...]
