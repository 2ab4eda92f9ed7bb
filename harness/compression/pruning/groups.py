"""Groups of layers that shrink together, and within a group the channels that only go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch_pruning import _helpers, ops

from harness.compression.pruning.attention import Heads
from harness.compression.pruning.sets import Sets
from harness.compression.pruning.side import Side
from harness.compression.pruning.trace import UncuttableError, trace

_Index = npt.NDArray[np.int64]
_ROOTS = (ops.OPTYPE.CONV, ops.OPTYPE.DEPTHWISE_CONV, ops.OPTYPE.LINEAR)
_WITHOUT_CHANNELS = frozenset(
    getattr(ops.OPTYPE, kind) for kind in ("CONCAT", "SPLIT", "ELEMENTWISE", "RESHAPE", "UNBIND", "EXPAND", "SLICE")
)
_MOST_PAIRS = 300_000  # the largest layers of VGG have 25,000
_FIXED = (ops.OPTYPE.OUTPUT, ops.OPTYPE.CUSTOMIZED)


@dataclass(frozen=True)
class Group:
    """Layers whose channels are the same.

    Attributes:
        root: name of the layer that the group was found from.
        units: number of its units. A unit is the least that can go: one channel, or several, where a group
            convolution or the heads of an attention must all lose the same.
        width: output channels of the root in a unit.
        sides: of every layer its channels' indices, ascending, and the unit that each belongs to.
        keep: whether nothing of it can go: it reaches the logits, the images, or an ignored module.
    """

    root: str
    units: int
    width: float
    sides: Mapping[Side, tuple[_Index, _Index]]
    keep: bool


def find_groups(model: nn.Module, example: Tensor, ignore: tuple[str, ...]) -> list[list[Group]]:
    """Return all groups that can shrink, in bundles whose groups must lose the same share.

    A bundle is one group, or the width of a transformer with what its attentions have inside: these split the width
    that their tokens have among their heads.

    Raises:
        UncuttableError: see `trace`.
    """
    graph = trace(model, example, ignore)
    reached = _Layers(model, graph, ignore)
    found: list[Group] = []
    seen: set[Side] = set()
    for node in list(graph.module2node.values()):
        if node.type not in _ROOTS:
            continue
        name = reached.name(node)
        if (name, True) not in seen:
            group = _group(graph, reached, node, name)
            seen.update(group.sides)
            found.append(group)
    return _bundles(found, reached.heads)


class _Layers:
    """Names of what a graph's nodes stand for."""

    def __init__(self, model: nn.Module, graph: Any, ignore: Iterable[str]) -> None:
        self.graph = graph
        self.heads = Heads(model)
        self._modules = {module: name for name, module in model.named_modules()}
        self._parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self._ignore = tuple(ignore)

    def side(self, node: Any, cut: Any) -> Side | None:
        """Return what a step of the graph cuts, or None: nothing."""
        if node.type in _WITHOUT_CHANNELS or node.type in _FIXED:
            return None
        if isinstance(node.module, nn.Parameter):
            return self._parameters[id(node.module)], True
        pruner = self.graph.get_pruner_of_module(node.module)
        if node.type is ops.OPTYPE.PRELU and node.module.num_parameters == 1:
            return None
        return self.name(node), cut == pruner.prune_out_channels

    def name(self, node: Any) -> str:
        """Return a layer's name."""
        name: str = self._modules[node.module]
        return name

    def keeps(self, node: Any, side: Side | None) -> bool:
        """Whether what a step cuts must stay: it is fenced off, ignored, or what the model returns."""
        if node.type in _FIXED:
            return True
        if side is None:
            return False
        name, out = side
        return (out and not node.outputs) or any(name == each or name.startswith(f"{each}.") for each in self._ignore)

    def equal_parts(self, node: Any, side: Side) -> int:
        """Return in how many parts, each losing the same channels, a layer's channels lie."""
        if node.type is ops.OPTYPE.MHA:
            return int(node.module.num_heads)
        if node.type is ops.OPTYPE.DEPTHWISE_CONV or isinstance(node.module, nn.Parameter):
            return 1
        pruner = self.graph.get_pruner_of_module(node.module)
        groups = pruner.get_out_channel_groups if side[1] else pruner.get_in_channel_groups
        return int(groups(node.module))


def _group(graph: Any, layers: _Layers, root: Any, name: str) -> Group:
    """Return all that must shrink with a layer's output channels."""
    sides: dict[Side, dict[int, list[int]]] = {}
    parts: dict[Side, int] = {}
    nodes: dict[Side, Any] = {}
    keep = False
    for node, cut, pairs in _reached(graph, root, name):
        side = layers.side(node, cut)
        keep |= layers.keeps(node, side) or any(pair.root_idx is None for pair in pairs)
        if side is not None:
            roots = sides.setdefault(side, {})
            for pair in pairs:
                roots.setdefault(pair.idx, []).append(pair.root_idx)
            parts[side] = layers.equal_parts(node, side)
            nodes[side] = node
    if not keep:
        for side, node in nodes.items():
            _check_fits(graph, node, side, sides[side])
    parts |= {side: layers.heads.of(side[0]) for side in layers.heads.inner_sides(sides)}
    channels = len(sides[name, True])
    unit = [0] * channels if keep else _units(channels, sides, parts)
    members = {
        side: _arrays({each: unit[roots[0] or 0] for each, roots in found.items()}) for side, found in sides.items()
    }
    return Group(name, max(unit) + 1, channels / (max(unit) + 1), members, keep)


def _units(channels: int, sides: Mapping[Side, Mapping[int, list[int]]], parts: Mapping[Side, int]) -> list[int]:
    """Return which unit each channel of the root is in."""
    together = Sets(channels)
    for side, roots in sides.items():
        for each in roots.values():
            together.join(each)
        size = len(roots) // parts[side]
        if parts[side] > 1 and sorted(roots) == list(range(size * parts[side])):
            for place in range(size):
                together.join([roots[place + size * part][0] for part in range(parts[side])])
    return together.numbers()


def _reached(graph: Any, root: Any, name: str) -> Iterator[tuple[Any, Any, set[Any]]]:
    """Yield every step that cutting a layer's outputs leads to: node, cut, the (channel, channel of the root) pairs.

    Torch-Pruning's own groups keep one root of a channel that several lead to: what must go together would be lost.

    Raises:
        UncuttableError: the channels grow without end, as where windows are cut out of tokens.
    """
    start = graph.get_pruner_of_module(root.module).prune_out_channels
    first = [_helpers._HybridIndex(idx=each, root_idx=each) for each in range(graph.get_out_channels(root))]
    found: dict[tuple[Any, Any], set[Any]] = {(root, start): set(first)}
    waiting = [(root, start, first)]
    while waiting:
        node, cut, pairs = waiting.pop()
        for edge in node.dependencies:
            if not edge.is_triggered_by(cut):
                continue
            mapped = pairs
            for mapping in edge.index_mapping:
                mapped = mapping(mapped) if mapping is not None else mapped
            known = found.setdefault((edge.target, edge.handler), set())
            new = [pair for pair in dict.fromkeys(mapped) if pair not in known]
            if len(known) + len(new) > _MOST_PAIRS:
                raise UncuttableError(name, "its channels are rearranged in a way that cannot be followed")
            if new:
                known.update(new)
                waiting.append((edge.target, edge.handler, new))
    for (node, cut), known in found.items():
        if known:
            yield node, cut, known


def _check_fits(graph: Any, node: Any, side: Side, roots: Mapping[int, Any]) -> None:
    """Refuse channels that a layer has not: Torch-Pruning took an operation for another."""
    name, out = side
    channels = graph.get_out_channels(node) if out else graph.get_in_channels(node)
    if channels is not None and max(roots) >= channels:
        owner = name.rpartition(".")[0] if isinstance(node.module, nn.Parameter) else name
        raise UncuttableError(owner, f"{name!r} has {channels} entries where {max(roots) + 1} channels or more arrive")


def _arrays(unit_of: Mapping[int, int]) -> tuple[_Index, _Index]:
    indices = np.array(sorted(unit_of), np.int64)
    return indices, np.array([unit_of[index] for index in indices.tolist()], np.int64)


def _bundles(groups: list[Group], heads: Heads) -> list[list[Group]]:
    """Join what attentions tie; drop what must stay."""
    together = Sets(len(groups))
    for number, group in enumerate(groups):
        for side in heads.widths(group.sides):
            together.join([number, *(other for other, each in enumerate(groups) if side in each.sides)])
    bundles: dict[int, list[Group]] = {}
    for group, bundle in zip(groups, together.numbers(), strict=True):
        bundles.setdefault(bundle, []).append(group)
    return [bundle for bundle in bundles.values() if not any(group.keep for group in bundle)]
