"""The channel ratio that brings a quantity down to what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from contracts.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Target = Literal["channels", "parameters", "macs", "latency"]
"""What a share goes of; for all but the channels themselves the channel ratio is searched."""

_HALVINGS = 9


@dataclass(frozen=True)
class Found:
    """A ratio that does.

    Attributes:
        ratio: share of the channels to cut.
        quantity: what was measured with it.
    """

    ratio: float
    quantity: float


def ratio_for(
    make: Callable[[float], nn.Module],
    quantity: Callable[[nn.Module], float],
    wanted: float,
    *,
    tolerance: float = 0.02,
    most: float = 0.95,
) -> Found:
    """Return the smallest channel ratio found by bisection whose model has at most the wanted quantity.

    Bisection takes it that a larger ratio never gives a larger quantity. That holds but roughly. Channel counts are
    integers, multiples of `round_to` even, so that the quantity falls in stairs, and the wanted value may lie inside a
    step: what is found is then the stair below, and no ratio comes closer. A latency is noisy, and kernels like some
    channel counts more than others: near the wanted value a smaller ratio that would have done may be missed, and a
    ratio that did by luck may be taken, so let `quantity` be a median over enough runs. What is returned was measured
    as it is returned, and at most the wanted value, always.

    Args:
        make: share of the channels in (0, 1) -> a fresh model with these cut.
        quantity: of a model: parameters, multiply-accumulates (`harness.compression.size`), a latency in ms. It is
            asked ten times at most, and never again of a model with the channel counts of one before.
        wanted: the largest value that does, of the quantity's unit.
        tolerance: how far below the wanted value is close enough to stop, as a share of it.
        most: largest ratio that is tried, in (0, 1).

    Raises:
        InputError: even the largest ratio leaves more than is wanted.
    """
    quantity = once_a_structure(quantity)
    low, high = 0.0, most
    reached = quantity(make(high))
    if reached > wanted:
        raise InputError(
            f"{wanted:g} cannot be reached by pruning: the smallest value, {reached:g}, is reached at a channel ratio "
            f"of {high:g}: ask for at least that, or prune with fewer limits and a larger max_sparsity"
        )
    for _ in range(_HALVINGS):
        if reached >= wanted * (1 - tolerance):
            break
        middle = (low + high) / 2
        value = quantity(make(middle))
        if value <= wanted:
            high, reached = middle, value
        else:
            low = middle
    return Found(high, reached)


def once_a_structure(quantity: Callable[[nn.Module], float]) -> Callable[[nn.Module], float]:
    """Return a quantity that is found once for all models whose tensors have the same names and shapes."""
    known: dict[tuple[tuple[str, tuple[int, ...]], ...], float] = {}

    def found(model: nn.Module) -> float:
        structure = tuple((name, tuple(tensor.shape)) for name, tensor in model.state_dict().items())
        if structure not in known:
            known[structure] = quantity(model)
        return known[structure]

    return found
