"""A model as attacks see it: logits, and gradients of losses of them, in half precision where that pays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from contracts.errors import InputError
from harness.attacks.head import exact, head_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Model = Callable[["Tensor"], "Tensor"]
"""Images (n, channels, height, width), float32 in [0, 1], to logits (n, classes), differentiable."""

Loss = Callable[["Tensor"], "Tensor"]
"""Logits (m, classes), float32, to what is to grow, shape (m,)."""


class Differentiable:
    """A model whose gradients may be taken in half precision: an attack needs their direction, not their last bits.

    Attributes:
        half: type that convolutions and products of gradients run in; None for the model's own.
    """

    def __init__(self, model: Model, half: torch.dtype | None = None, device: torch.device | None = None) -> None:
        """Wrap a model.

        Args:
            model: in evaluation mode.
            half: torch.bfloat16, torch.float16, or None.
            device: where it computes; by default that of its first parameter or buffer, or the CPU.
        """
        self._model = model
        self.half = half
        self._device = device
        self._head: torch.nn.Linear | None = None
        self._looked_for_head = False

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        import torch

        if self._device is not None:
            return self._device
        if not isinstance(self._model, torch.nn.Module):
            return torch.device("cpu")
        tensors = chain(self._model.parameters(), self._model.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    def gradient(self, images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the logits (m, classes), float32, and the gradient of every image's own loss.

        With a half precision the logits are rounded as it rounds: `logits` gives the exact ones.

        Args:
            images: float32, shape (m, channels, height, width).
            loss: of the logits.

        Raises:
            InputError: the logits have no gradient.
        """
        import torch

        with torch.enable_grad():
            variable = images.detach().requires_grad_()
            with self._rounding(images):
                logits = self._model(variable)
            logits = logits.float()
            if not logits.requires_grad:
                raise InputError(
                    "the attacked model's logits have no gradient: take away what detaches them, no_grad for example, "
                    "or use an attack that needs none"
                )
            of_logits = logits.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(loss(of_logits).sum(), of_logits)
            # Each image's goes through the model at size 1: what a sure model's loss has left would vanish in float16.
            sizes = slopes.abs().amax(1, keepdim=True).clamp_(min=torch.finfo(slopes.dtype).tiny)
            (gradient,) = torch.autograd.grad(
                logits, variable, slopes / sizes, allow_unused=True, materialize_grads=True
            )
        return logits.detach(), gradient * sizes[:, :, None, None]

    def logits(self, images: Tensor) -> Tensor:
        """Return the model's logits in its own precision, float32, shape (m, classes), without a gradient."""
        import torch

        with torch.no_grad():
            return self._model(images).float()

    def rounded_logits(self, images: Tensor) -> Tensor:
        """Return the logits without a gradient, in half precision up to the layer that writes them."""
        import torch

        if self.half is not None and not self._looked_for_head:
            self._head, self._looked_for_head = head_of(self._model, images), True
        with torch.no_grad(), self._rounding(images), exact(self._head):
            return self._model(images).float()

    def _rounding(self, images: Tensor) -> AbstractContextManager[object]:
        import torch

        return nullcontext() if self.half is None else torch.autocast(images.device.type, self.half)
