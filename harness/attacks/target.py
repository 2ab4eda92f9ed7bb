"""What a gradient attack works on: a model that it differentiates, and what tells it the losses and who is fooled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from harness.attacks.differentiable import Differentiable, Loss

if TYPE_CHECKING:
    from torch import Tensor

    from harness.attacks.victim import Victim

_ROUNDINGS = 8  # of the half precision's, relative to the spread of the logits: how far roundings may move a margin


class Target(ABC):
    """A differentiable model and a judge of its images.

    Attributes:
        model: gives the gradients.
        follows: whether losses are those of the model whose gradients are taken, not of another function.
    """

    follows: ClassVar[bool] = True

    def __init__(self, model: Differentiable) -> None:
        self.model = model

    def gradient(self, images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return logits and gradients; see `Differentiable.gradient`."""
        return self.model.gradient(images, loss)

    @abstractmethod
    def look(
        self, images: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the logits (m, classes) that losses are of, and which images fooled the target, shape (m,).

        An image that did is attacked no further.

        Args:
            images: float32, shape (m, channels, height, width), in [0, 1].
            labels: int64, shape (m,).
            rows: int64, shape (m,): which images of the attacked batch these are versions of.
            logits: of these images from `gradient`, where it was called.
            last: whether these are the last points of a run.
        """


class WhiteBox(Target):
    """The model itself is to be fooled, in its own precision."""

    def look(
        self, images: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Judge by the model; see `Target.look`."""
        del rows, last
        if logits is None:
            logits = self.model.logits(images)
        elif self.model.half is not None:
            logits = self._confirmed(images, labels, logits)
        return logits, is_wrong(logits, labels)

    def _confirmed(self, images: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        """Return logits that are exact where roundings could have changed the decision."""
        import torch

        half = self.model.half
        assert half is not None
        spread = logits.amax(1) - logits.amin(1)
        doubtful = ~(margins(logits, labels) > _ROUNDINGS * torch.finfo(half).eps * spread)
        if doubtful.any():
            logits = logits.clone()
            logits[doubtful] = self.model.logits(images[doubtful])
        return logits


class Blind(Target):
    """Nobody judges: an attack goes on to its last step, as training on adversarial images wants it."""

    def look(
        self, images: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Judge nothing; see `Target.look`."""
        import torch

        del rows, last
        return (self.model.logits(images) if logits is None else logits), torch.zeros_like(labels, dtype=torch.bool)


class Loop(Target):
    """Something without a gradient is to be fooled: it gives the losses and the decisions, at every step."""

    follows: ClassVar[bool] = False

    def __init__(self, model: Differentiable, victim: Victim) -> None:
        super().__init__(model)
        self.victim = victim

    def look(
        self, images: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Judge by the victim; see `Target.look`."""
        del logits, last
        scores = asked(self.victim, images, rows)
        return scores, is_wrong(scores, labels)


class Replay(Target):
    """As if the victim were not at hand: the model gives the losses, and some of the iterates are shown to it.

    What only fooled the model is attacked further, towards points that fool the victim too.
    """

    def __init__(self, model: Differentiable, victim: Victim, every: int) -> None:
        """Put the two together.

        Args:
            model: gives the gradients and the losses.
            victim: decides.
            every: which iterates it is shown: each of that number, the last always.
        """
        super().__init__(model)
        self.victim = victim
        self._every = every
        self._looks = 0  # of this run

    def look(
        self, images: Tensor, labels: Tensor, rows: Tensor, logits: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Judge by the victim now and then; see `Target.look`."""
        import torch

        self._looks += 1
        shown = last or self._looks % self._every == 0
        if last:
            self._looks = 0  # what the next run shows must not depend on how long this one was
        logits = self.model.logits(images) if logits is None else logits
        if not shown:
            return logits, torch.zeros_like(labels, dtype=torch.bool)
        return logits, is_wrong(asked(self.victim, images, rows), labels)


def asked(victim: Victim, images: Tensor, rows: Tensor) -> Tensor:
    """Return a victim's scores of images on any device, there; the victim gets copies, which it may write to."""
    import torch

    scores = victim.scores(images.detach().cpu().numpy().copy(), rows.cpu().numpy().copy())
    return torch.from_numpy(scores).to(images.device)


def is_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """Return where another class than the label's has the largest logit, or a logit is not finite, shape (m,)."""
    return (logits.argmax(1) != labels) | ~logits.isfinite().all(1)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how far the label's logit is above the largest of the others, shape (m,); negative where it is below."""
    import torch

    others = logits.scatter(1, labels[:, None], -torch.inf)
    return logits.gather(1, labels[:, None])[:, 0] - others.amax(1)
