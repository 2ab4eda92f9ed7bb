"""A traced model's operators in ONNX's terms: what the rule table is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any

import torch
from torch import fx

from calibration.rules import PART_OF_ACTIVATION, Operand, Operation

_ATEN = torch.ops.aten

_ADAPTIVE_POOLS = (
    _ATEN.adaptive_avg_pool1d.default,
    _ATEN.adaptive_avg_pool2d.default,
    _ATEN.adaptive_avg_pool3d.default,
)
_PRODUCTS = (_ATEN.matmul.default, _ATEN.mm.default, _ATEN.bmm.default)

_KINDS: Mapping[Any, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv2d.padding, _ATEN.conv3d.default), "Conv"
        ),
        **dict.fromkeys(
            (_ATEN.conv_transpose1d.default, _ATEN.conv_transpose2d.input, _ATEN.conv_transpose3d.input),
            "ConvTranspose",
        ),
        _ATEN.linear.default: "Gemm",
        **dict.fromkeys(_PRODUCTS, "MatMul"),
        _ATEN.add.Tensor: "Add",
        **dict.fromkeys((_ATEN.avg_pool1d.default, _ATEN.avg_pool2d.default, _ATEN.avg_pool3d.default), "AveragePool"),
        **dict.fromkeys(_ADAPTIVE_POOLS, "AveragePool"),
        _ATEN.mean.dim: "GlobalAveragePool",
    }
)
_WEIGHT = ".weight"


def operations(graph: fx.Graph) -> dict[fx.Node, Operation]:
    """Return what every node computes for each image, in order; operators that no rule knows keep their own name.

    A layer is named as in the model ("network.conv1"); what has no weight is named as its node ("add_1"). What is
    computed from no image is no operation but a constant.
    """
    constants: set[fx.Node] = set()
    found: dict[fx.Node, Operation] = {}
    taken: set[str] = set()
    for node in graph.nodes:
        made = node.op == "call_function" and all(each in constants for each in node.all_input_nodes)
        if node.op == "get_attr" or made:
            constants.add(node)
        elif node.op == "call_function":
            inputs = tuple(Operand(tensor_name(each), each in constants) for each in _tensors(node))
            name = _name(node, taken)
            taken.add(name)
            found[node] = Operation(name, _kind(node, constants), inputs)
    return found


def tensor_name(node: fx.Node) -> str:
    """Return what a node's value is called: a parameter as in the model, anything else as its node."""
    return str(node.target) if node.op == "get_attr" else node.name


def _kind(node: fx.Node, constants: Set[fx.Node]) -> str:
    target: Any = node.target
    kind = _KINDS.get(target)
    if kind and (foreign := _other_type(node)):
        return f"{kind} of {foreign}"
    if target is _ATEN.add.Tensor and len(_tensors(node)) == 2:
        first, second = (_sources(each, constants) for each in _tensors(node))
        return PART_OF_ACTIVATION if first == second else "Add"
    if target in _PRODUCTS and _rank(node.args[1]) == 1:
        kind = None  # a product with a vector has no output channels
    if target in _ADAPTIVE_POOLS and set(_listed(node.args[1])) == {1}:
        kind = "GlobalAveragePool"
    if target is _ATEN.mean.dim and not _is_over_the_image(node):
        kind = None
    return kind or str(target)


def _other_type(node: fx.Node) -> str | None:
    """Return the number type of an input that is not float32: indices are int64, say."""
    types = (each.meta["val"].dtype for each in _tensors(node))
    return next((str(each).removeprefix("torch.") for each in types if each != torch.float32), None)


def _sources(node: fx.Node, constants: Set[fx.Node]) -> set[fx.Node]:
    """Return what a node's value is a pointwise function of."""
    found: set[fx.Node] = set()
    seen: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if each in seen or each in constants:
            continue
        seen.add(each)
        if torch.Tag.pointwise in getattr(each.target, "tags", ()):
            waiting += _tensors(each)
        else:
            found.add(each)
    return found


def _is_over_the_image(node: fx.Node) -> bool:
    rank = _rank(node.args[0])
    return rank == 4 and {dimension % rank for dimension in _listed(node.args[1])} == {2, 3}


def _rank(node: Any) -> int:
    return int(node.meta["val"].ndim)


def _listed(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _tensors(node: fx.Node) -> list[fx.Node]:
    """Return the inputs that are tensors, in order; sizes are none."""
    return [arg for arg in node.args if isinstance(arg, fx.Node) and isinstance(arg.meta.get("val"), torch.Tensor)]


def _name(node: fx.Node, taken: set[str]) -> str:
    weights = [str(arg.target) for arg in node.all_input_nodes if arg.op == "get_attr"]
    layer = next((name.removesuffix(_WEIGHT) for name in weights if name.endswith(_WEIGHT)), node.name)
    return layer if layer not in taken else node.name
