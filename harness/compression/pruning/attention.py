"""Attention written out in linear layers: which of its channels belong to which head.

A module says how many heads it has in an attribute, as they all do, and has its linear layers as direct children. Its
heads stay, and all lose the same of their channels. torch's own `nn.MultiheadAttention` is known as a layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from harness.compression.pruning.side import Side

_NAMES = ("heads", "num_heads", "n_heads", "num_attention_heads")


class Heads:
    """The linear layers of a model that are directly in a module with heads."""

    def __init__(self, model: nn.Module) -> None:
        self._heads: dict[str, int] = {}
        self._layers: dict[str, nn.Linear] = {}
        for name, module in model.named_modules():
            heads = next((each for key in _NAMES if isinstance(each := getattr(module, key, None), int)), 1)
            if heads > 1 and not isinstance(module, nn.MultiheadAttention):
                linears = {f"{name}.{child}".lstrip("."): layer for child, layer in module.named_children()}
                found = {child: layer for child, layer in linears.items() if isinstance(layer, nn.Linear)}
                self._heads |= dict.fromkeys(found, heads)
                self._layers |= found

    def of(self, layer: str) -> int:
        """Return the number of heads of the module that a linear layer is in."""
        return self._heads[layer]

    def inner_sides(self, sides: Collection[Side]) -> Iterator[Side]:
        """Yield the inputs of an attention's last layer, where a group is what an attention has inside.

        These are made by another linear layer of the same module; head by head they lie side by side.
        """
        for name, out in sides:
            if not out and name in self._heads and any(True for _ in self._made_by(name, sides)):
                yield name, out

    def widths(self, sides: Collection[Side]) -> Iterator[Side]:
        """Yield the inputs of an attention whose inner width is that of its tokens, given what it has inside."""
        for last, _ in self.inner_sides(sides):
            for first in self._made_by(last, sides):
                if self._layers[first].in_features == self._layers[last].in_features:
                    yield first, False

    def _made_by(self, last: str, sides: Collection[Side]) -> Iterator[str]:
        owner = last.rpartition(".")[0]
        for name, out in sides:
            if out and name != last and name in self._heads and name.rpartition(".")[0] == owner:
                yield name
