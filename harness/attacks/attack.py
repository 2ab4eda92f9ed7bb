"""What an attack is: hyper-parameters, and one call that turns images into adversarial ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np
import numpy.typing as npt

from harness.attacks.arguments import check, check_scores
from harness.attacks.ball import Ball, Norm
from harness.attacks.victim import FunctionVictim, ModelVictim, Victim

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.differentiable import Differentiable, Model
    from harness.attacks.target import Target

Array = npt.NDArray[Any]
Images = TypeVar("Images", "Tensor", Array)


class Attack(ABC):
    """An attack along a model's gradients; a frozen dataclass whose fields are settings of the experiment file.

    Attributes:
        name: in the experiment file.
        needs_gradient: whether it needs a differentiable model.
        needed_classes: with fewer, its loss is the plain margin, which depends on the logits' scale.
        scale_free: whether its loss does not depend on the logits' scale, so that saturated ones hide nothing.
        seeks_nearest: whether it looks for the smallest change, in the ball or outside.
    """

    name: ClassVar[str]
    needs_gradient: ClassVar[bool] = True
    needed_classes: ClassVar[int] = 2
    scale_free: ClassVar[bool] = False
    seeks_nearest: ClassVar[bool] = False

    def __call__(
        self,
        target: Target | Differentiable | Model,
        images: Tensor,
        labels: Tensor,
        *,
        epsilon: float,
        norm: Norm = "linf",
        image_ids: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Return adversarial images: where the attack failed, the point that came nearest.

        Results do not depend on how images are batched: randomness is each image's own.

        Args:
            target: images (n, channels, height, width) to logits (n, classes), a differentiable function or module in
                evaluation mode on the images' device; a `Differentiable`, whose gradients may be half precision; or a
                `Target`, which says who judges.
            images: float32, shape (n, channels, height, width), in [0, 1]; normalisation belongs into the model.
            labels: int64, shape (n,), on the images' device.
            epsilon: radius of the ball, in units of the pixel range.
            norm: "linf" or "l2".
            image_ids: int64, shape (n,), at least 0: what random draws depend on beside the seed; by default the rows.
            seed: of all random draws, at least 0.

        Returns:
            float32, same shape: inside the ball up to roundings of 1e-6, and inside [0, 1].

        Raises:
            InputError: an argument is not as above.
        """
        import torch

        from harness.attacks.differentiable import Differentiable
        from harness.attacks.target import Target, WhiteBox

        ball = Ball(norm, epsilon)
        if not isinstance(target, (Target, Differentiable)):
            target = Differentiable(target)
        aimed = target if isinstance(target, Target) else WhiteBox(target)
        check(images, labels, image_ids, seed, tensors=True)
        if images.numel() == 0:
            return images.clone()
        check_scores(labels, tuple(aimed.model.logits(images[:1]).shape))
        ids = torch.arange(len(images)) if image_ids is None else image_ids
        return self.run(aimed, images.detach(), labels, ball, ids.to(images.device), seed)

    @abstractmethod
    def run(self, target: Target, images: Tensor, labels: Tensor, ball: Ball, image_ids: Tensor, seed: int) -> Tensor:
        """Attack a batch of at least one image whose arguments were checked; see `__call__`.

        It asks `target.look` about every point that counts, with the points' rows in this batch, moves what fooled the
        target no further, and says of each run's last points that they are.
        """


class BlackBox(ABC):
    """An attack that only asks for scores; on NumPy arrays, so that a board without torch can run it.

    Attributes:
        name: in the experiment file.
        needs_gradient: whether it needs a differentiable model.
        seeks_nearest: whether it looks for the smallest change, in the ball or outside.
    """

    name: ClassVar[str]
    needs_gradient: ClassVar[bool] = False
    seeks_nearest: ClassVar[bool] = False

    def __call__(
        self,
        victim: Victim | Differentiable | Callable[[Any], Any],
        images: Images,
        labels: Images,
        *,
        epsilon: float,
        norm: Norm = "linf",
        image_ids: Images | None = None,
        seed: int = 0,
    ) -> Images:
        """Return adversarial images; see `Attack.__call__`.

        Args:
            victim: images to scores (n, classes), a function of what `images` are; a `Differentiable`, which is asked
                in half precision first, where `images` are torch tensors; or a `Victim`.
            images: float32, shape (n, channels, height, width), in [0, 1]; a NumPy array or a torch tensor.
            labels: int64, shape (n,), as `images`.
            epsilon: radius of the ball, in units of the pixel range.
            norm: "linf" or "l2".
            image_ids: int64, shape (n,), at least 0: what random draws depend on beside the seed; by default the rows.
            seed: of all random draws, at least 0.

        Returns:
            float32, same shape and kind: inside the ball up to roundings of 1e-6, and inside [0, 1].

        Raises:
            InputError: an argument is not as above.
        """
        ball = Ball(norm, epsilon)
        check(images, labels, image_ids, seed)
        if not isinstance(images, np.ndarray):
            return _on_tensors(self, victim, images, labels, ball, image_ids, seed)
        if images.size == 0:
            untouched: Array = images.copy()
            return untouched
        oracle = victim if isinstance(victim, Victim) else FunctionVictim(cast("Callable[[Any], Any]", victim))
        ids = np.arange(len(images)) if image_ids is None else image_ids
        return self.run(_LabelsChecked(oracle, labels), images, labels, ball, ids, seed)

    @abstractmethod
    def run(self, victim: Victim, images: Array, labels: Array, ball: Ball, image_ids: Array, seed: int) -> Array:
        """Attack a batch of at least one image whose arguments were checked; see `__call__`."""


class _LabelsChecked(Victim):
    """A victim whose number of classes is held against the labels at the first question."""

    def __init__(self, victim: Victim, labels: Array) -> None:
        self._victim = victim
        self._labels: Array | None = labels

    def scores(self, images: Array, rows: Array) -> Array:
        """Return the victim's scores; see `Victim`."""
        found = self._victim.scores(images, rows)
        if self._labels is not None:
            check_scores(self._labels, found.shape)
            self._labels = None
        return found

    def estimate(self, images: Array, rows: Array) -> Array | None:
        """Return the victim's estimates; see `Victim`."""
        return self._victim.estimate(images, rows)


def _on_tensors(
    attack: BlackBox, victim: Any, images: Tensor, labels: Tensor, ball: Ball, image_ids: Any, seed: int
) -> Tensor:
    import torch

    from harness.attacks.differentiable import Differentiable

    if not isinstance(victim, (Victim, Differentiable)):
        victim = Differentiable(victim, device=images.device)
    made = attack(
        victim if isinstance(victim, Victim) else ModelVictim(victim),
        images.detach().cpu().numpy(),
        labels.cpu().numpy(),
        epsilon=ball.epsilon,
        norm=ball.norm,
        image_ids=None if image_ids is None else image_ids.cpu().numpy(),
        seed=seed,
    )
    return torch.from_numpy(made).to(images.device)
