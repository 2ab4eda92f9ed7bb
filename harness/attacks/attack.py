"""What an attack is: hyper-parameters, and one call that turns images into adversarial ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Model = Callable[["Tensor"], "Tensor"]
"""Images (n, channels, height, width) in [0, 1] to logits (n, classes), differentiable."""

Judge = Callable[["Tensor", "Tensor"], "Tensor"]
"""Adversarial images (m, …) and their rows (m,) in the attacked batch to a mask (m,): which fooled the target."""


@dataclass(frozen=True)
class Target:
    """What is attacked, and how success is seen.

    Attributes:
        model: gives the gradients.
        judge: asked about every iterate, where there is one; an image that fooled its target is attacked no further.
    """

    model: Model
    judge: Judge | None = None


class Attack(Protocol):
    """An attack along a model's gradients; a frozen dataclass whose fields are settings of the experiment file."""

    needs_gradient: ClassVar[bool]

    def __call__(
        self, target: Target, images: Tensor, labels: Tensor, *, epsilon: float, image_ids: Tensor, seed: int
    ) -> Tensor:
        """Return adversarial images.

        Args:
            target: the model to differentiate and, perhaps, a judge.
            images: float32, shape (n, channels, height, width), in [0, 1].
            labels: int64, shape (n,).
            epsilon: radius of the Linf ball, in pixel units.
            image_ids: int64, shape (n,): places in the data set, which random draws depend on.
            seed: of all random draws.

        Returns:
            float32, same shape, inside the ball and inside [0, 1].
        """
        ...


BlackBoxJudge = Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any]]
"""As `Judge`, of NumPy arrays."""


class BlackBoxAttack(Protocol):
    """An attack that only asks its target; on NumPy arrays, so that a board without torch can run it."""

    needs_gradient: ClassVar[bool]

    def __call__(
        self,
        judge: BlackBoxJudge | None,
        images: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        *,
        epsilon: float,
        image_ids: npt.NDArray[Any],
        seed: int,
    ) -> npt.NDArray[Any]:
        """Return adversarial images.

        Args:
            judge: asked about every iterate; without one, the attack is blind.
            images: float32, shape (n, channels, height, width), in [0, 1].
            labels: int64, shape (n,).
            epsilon: radius of the Linf ball, in pixel units.
            image_ids: int64, shape (n,): places in the data set, which random draws depend on.
            seed: of all random draws.

        Returns:
            float32, same shape, inside the ball and inside [0, 1].
        """
        ...
