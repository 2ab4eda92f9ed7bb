"""The layer that writes the logits, kept in its own precision: rounding them last is most of what rounding costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def head_of(model: Callable[[Tensor], Tensor], images: Tensor) -> nn.Linear | None:
    """Return the linear layer whose output a model returns as it is; None where there is none.

    Args:
        model: images to logits.
        images: one or more, as the model takes them; it is run on the first.
    """
    import torch
    from torch import nn

    if not isinstance(model, nn.Module):
        return None
    written: list[tuple[nn.Linear, Any]] = []
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(lambda layer, _, output: written.append((layer, output))) for layer in layers]
    try:
        with torch.no_grad():
            logits = model(images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return next((layer for layer, output in written if output is logits), None)


@contextmanager
def exact(head: nn.Linear | None) -> Iterator[None]:
    """Let a layer compute in its own precision where autocast would round it."""
    import torch

    if head is None:
        yield
        return
    forward = head.forward

    def unrounded(input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return forward(input.to(head.weight.dtype))

    head.forward = unrounded  # type: ignore[method-assign]
    try:
        yield
    finally:
        del head.forward
