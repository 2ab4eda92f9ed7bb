"""Which tensors share their channels: Torch-Pruning's dependency graph (Fang et al. 2023, arXiv 2301.12900).

It follows autograd's graph, and takes what it does not know for an operation that keeps every channel in its place.
Two things would then be wrong without a word, and are fenced off: the images, which no layer makes (a network that
concatenates them to features would have its channels counted wrongly), and modules that are to be ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from harness.models.quiet import quiet


class UncuttableError(Exception):
    """Tracing or cutting failed.

    Attributes:
        module: name of the module in which it did, "" for the model itself.
        reason: one line.
    """

    def __init__(self, module: str, error: Exception | str) -> None:
        self.module = module
        line = next(iter(str(error).strip().splitlines()), "")
        self.reason = line if isinstance(error, str) else f"{type(error).__name__}: {line}"
        super().__init__(self.reason)


class Fence(nn.Module):
    """What makes a tensor whose channels must stay: nobody looks behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: int | None = None
        self.taken: int | None = None

    def forward(self, made: Tensor, *sources: Tensor) -> Tensor:
        """Return a tensor, made from the sources and nothing else as far as autograd knows."""
        self.channels, self.taken = _channels(made), _channels(sources[0]) if sources else None
        joined: Tensor = _Joined.apply(made.detach(), *sources)
        return joined


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, made: Tensor, *sources: Tensor) -> Tensor:  # noqa: ARG004
        return made.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        raise NotImplementedError("a traced graph is looked at, not run")


class _FenceCutter:
    """Tells Torch-Pruning how wide a fence is. Its inputs and its outputs have nothing to do with each other."""

    pruning_dim = 1

    def prune_out_channels(self, layer: Fence, idxs: list[int]) -> None: ...

    def prune_in_channels(self, layer: Fence, idxs: list[int]) -> None: ...

    def get_out_channels(self, layer: Fence) -> int | None:
        return layer.channels

    def get_in_channels(self, layer: Fence) -> int | None:
        return layer.taken


class _Fenced(nn.Module):
    """A model whose images come out of a fence, with room for the fences around its ignored modules."""

    def __init__(self, model: nn.Module, ignored: int) -> None:
        super().__init__()
        self.model = model
        self.images = Fence()
        self.fences = nn.ModuleList(Fence() for _ in range(ignored))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.model(self.images(images, images))
        return scores


def trace(model: nn.Module, example: Tensor, ignore: Iterable[str]) -> Any:
    """Return Torch-Pruning's `DependencyGraph` of a model.

    Args:
        model: is put into evaluation mode, and otherwise stays as it is.
        example: float32, shape (n, channels, height, width).
        ignore: names of modules to fence off, with everything below them.

    Raises:
        UncuttableError: the forward fails, or Torch-Pruning cannot follow it.
    """
    ignored = list(dict.fromkeys(each for name in ignore for each in model.get_submodule(name).modules()))
    fenced = _Fenced(model, len(ignored))
    images = example.detach().clone().requires_grad_()
    with ExitStack() as stack:
        for fence, module in zip(fenced.fences, ignored, strict=True):
            stack.enter_context(_fenced_off(module, fence))
        where = stack.enter_context(innermost(model))
        stack.enter_context(quiet())
        stack.enter_context(torch.enable_grad())
        try:
            return tp.DependencyGraph().build_dependency(
                fenced,
                example_inputs=images,
                forward_fn=lambda network, given: network(given),  # else it tries the images one by one first
                customized_pruners={Fence: _FenceCutter()},
                ignored_layers=ignored,
                verbose=False,
            )
        except Exception as error:  # the user's own forward, or whatever Torch-Pruning stumbles over
            raise UncuttableError(where[-1] if where else "", error) from error


@contextmanager
def innermost(model: nn.Module) -> Iterator[list[str]]:
    """Keep the names of the modules that are running, the innermost last; after an error, where it happened."""
    running: list[str] = []

    def leave(*_: Any) -> None:
        running.pop()

    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        hooks.append(module.register_forward_hook(leave))
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _fenced_off(module: nn.Module, fence: nn.Module) -> Iterator[None]:
    """Let a module's outputs come from its inputs in one step, whatever it does inside."""
    own = module.__dict__.get("forward")
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        sources = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor) and each.is_floating_point()]
        with torch.no_grad():
            made = inner(*map(_detached, args), **{name: _detached(each) for name, each in kwargs.items()})
        return _each_tensor(made, lambda tensor: fence(tensor, *sources))

    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.__dict__["forward"] = own


def _detached(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value  # a copy: it may work in place


def _each_tensor(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return change(value)
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(_each_tensor(each, change) for each in value)
    return value


def _channels(tensor: Tensor) -> int | None:
    """Return how many channels a tensor has: images and features have them second, tokens last."""
    if tensor.ndim == 0:
        return None
    return tensor.shape[-1] if tensor.ndim in (1, 3) else tensor.shape[1]
