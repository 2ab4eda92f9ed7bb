"""How a run has gone so far."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from harness.training.trained import Epoch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Course:
    """What is known of the epochs that are finished.

    Attributes:
        epochs: in their order.
        gradients: images that went through the network with a backward pass, each as often as it did.
        collapsed: whether a single-step method collapsed, and another took its place.
        warnings: a sentence each.
        kept_epoch: whose weights are to be returned, from 1; 0 before the first.
        best: those weights, where they may not be the last ones.
    """

    epochs: list[Epoch] = field(default_factory=list)
    gradients: int = 0
    collapsed: bool = False
    warnings: list[str] = field(default_factory=list)
    kept_epoch: int = 0
    best: dict[str, Tensor] | None = None

    @property
    def best_robust(self) -> float:
        """Highest robust accuracy of an epoch, 0 before there is one."""
        return max((epoch.robust for epoch in self.epochs if epoch.robust is not None), default=0.0)

    def is_best(self, epoch: Epoch) -> bool:
        """Return whether no epoch before did better; all were judged."""
        return all((epoch.score or 0.0) >= (before.score or 0.0) for before in self.epochs)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers and texts."""
        return {**vars(self), "epochs": [astuple(epoch) for epoch in self.epochs]}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Course:
        """Return what `state_dict` was taken of."""
        return cls(**{**state, "epochs": [Epoch(*values) for values in state["epochs"]]})
