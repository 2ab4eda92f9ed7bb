"""The exponential moving average of a model's weights: smoother than the last step's, and often more robust."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn


class MovingAverage:
    """The average of parameters and floating-point buffers, brought on once a step.

    At step t, counted from 0, the average moves by 1 - min(decay, (1 + t) / (10 + t)) of its distance to the model, so
    that the weights of the beginning are soon forgotten.

    Args:
        model: whose weights are averaged.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._values = [tensor.detach().clone() for tensor in self._current()]
        self._steps = 0

    def update(self) -> None:
        """Bring the average on by one step."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._values, self._current(), 1 - decay)
        self._steps += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the model hold the average inside the context; its own weights come back after it."""
        current = self._current()
        own = [tensor.detach().clone() for tensor in current]
        _copy(self._values, current)
        try:
            yield
        finally:
            _copy(own, current)

    def state_dict(self) -> dict[str, object]:
        """Return what `load_state_dict` takes."""
        return {"values": self._values, "steps": self._steps}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a state that `state_dict` returned."""
        values, steps = state["values"], state["steps"]
        assert isinstance(values, list)
        assert isinstance(steps, int)
        _copy(values, self._values)
        self._steps = steps

    def _current(self) -> list[Tensor]:
        # Asked anew at every step: a module may replace a buffer instead of writing to it.
        tensors = chain(self._model.parameters(), self._model.buffers())
        return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
