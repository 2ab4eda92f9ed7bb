"""A model that learns, with all that has to be known to go on with it: optimizer, schedule, moving average."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.training.average import MovingAverage
from harness.training.mixed_precision import autocast
from harness.training.objective import objective
from harness.training.perturbation import Perturbation
from harness.training.recipe import Recipe
from harness.training.schedule import schedule

_MOMENTUM = 0.9


class Step(NamedTuple):
    """What a batch gave, scalars on the device.

    Attributes:
        loss: mean over the images.
        gradient_norm: of all gradients together, before it was clipped; 0 where nothing clips.
        right: number of perturbed images that were right.
    """

    loss: Tensor
    gradient_norm: Tensor
    right: Tensor


class Learner:
    """A model in training.

    Args:
        model: on the device that it is trained on.
        recipe: hyper-parameters.
        steps: of the whole training.
        settle: called, in evaluation mode, whenever weights were put in place from outside.

    Attributes:
        model: the same, changed in place.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, steps: int, settle: Callable[[], None]) -> None:
        self.model = model
        self._recipe = recipe
        self._settle = settle
        self._optimizer = torch.optim.SGD(
            model.parameters(),
            recipe.learning_rate,
            momentum=_MOMENTUM,
            nesterov=True,
            weight_decay=recipe.weight_decay,
        )
        self._schedule = schedule(recipe.schedule, self._optimizer, steps)
        self._average = MovingAverage(model, recipe.ema_decay) if recipe.ema_decay else None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def step(self, images: Tensor, labels: Tensor, perturbation: Perturbation) -> Step:
        """Learn from a batch.

        Args:
            images: float32, shape (n, channels, height, width), augmented, on the model's device.
            labels: int64, shape (n,), there too.
            perturbation: what the loss is taken on.
        """
        with autocast(images.device, self._recipe.precision):
            loss, logits = objective(self.model, images, labels, perturbation, self._recipe)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.zeros_like(loss)
        if self._recipe.gradient_clip:
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.gradient_clip)
        self._optimizer.step()
        self._schedule.step()
        if self._average is not None:
            self._average.update()
        return Step(loss.detach(), norm, (logits.detach().argmax(1) == labels).sum())

    @contextmanager
    def as_returned(self) -> Iterator[None]:
        """Have the model be, inside the context, what training would return now: averaged, settled, evaluating."""
        self.model.eval()
        if self._average is None:
            self._settle()
            yield
            return
        with self._average.in_place():
            self._settle()
            yield
        self._settle()

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of everything that the model holds."""
        return deepcopy(self.model.state_dict())

    def put(self, weights: dict[str, Tensor]) -> None:
        """Put weights in place that `weights` returned."""
        self.model.load_state_dict(weights)
        self.model.eval()
        self._settle()

    def capture(self) -> dict[str, Any]:
        """Return a copy of all that `restore` needs."""
        return deepcopy(
            {
                "model": self.model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._schedule.state_dict(),
                "average": None if self._average is None else self._average.state_dict(),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go back, or on, to a state that `capture` returned; it stays as it is."""
        self._optimizer.load_state_dict(deepcopy(state["optimizer"]))  # it would go on in the very tensors it is given
        self._schedule.load_state_dict(deepcopy(state["schedule"]))
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.put(state["model"])
