"""A classifier as a flat graph of ATen operators: what a twin is made of, whatever way the model was written.

`torch.export` sees modules, functions and methods alike, in-place operations are made functional, attention is taken
apart into its matrix products, and batch norms are folded into the layer before them, as every deployed engine does.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, fx, nn

from contracts.errors import InputError
from harness.compression.fold import fold_batch_norms
from harness.models.quiet import quiet

_ATEN = torch.ops.aten
_VIEWS = (_ATEN.view.default, _ATEN._unsafe_view.default)


def traced(model: nn.Module, input_shape: tuple[int, int, int]) -> fx.GraphModule:
    """Return the same function in evaluation mode, for batches of any size.

    Args:
        model: in evaluation mode; it is copied, and stays as it is. Its parameters keep their names.
        input_shape: channels, height, width of its images.

    Raises:
        InputError: the model's control flow depends on its data, so that it cannot be traced.
    """
    example = torch.zeros(2, *input_shape)
    batch = torch.export.Dim("batch", min=1)
    try:
        with quiet("torch", "torch._subclasses", "torch.export"):
            copy = deepcopy(model).eval()
            program = torch.export.export(copy, (example,), dynamic_shapes=({0: batch},), strict=False)
            program = program.run_decompositions({_ATEN.scaled_dot_product_attention.default: _attention})
            network = _flat(program.module())
    except Exception as error:  # tracing runs the user's own forward
        reason = next(iter(str(error).strip().splitlines()), "")
        raise InputError(
            f"{type(model).__name__} cannot be traced by torch.export ({type(error).__name__}: {reason}): its forward "
            "must not branch on the values of tensors, and must take batches of any size"
        ) from error
    fold_batch_norms(network)
    return network


def _flat(exported: fx.GraphModule) -> fx.GraphModule:
    """Return the graph with one plain input and one plain output, free to be changed and trained."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in exported.graph.nodes:
        if node.op == "output":
            (scores,) = node.args[0]
            graph.output(copies[scores])
        elif node.op != "call_module":  # the exporter's checks of the input's shape are its only modules
            copies[node] = graph.node_copy(node, copies.__getitem__)
            # A view needs memory in the order of the dimensions, which images in channels-last order have not.
            if node.target in _VIEWS:
                copies[node].target = _ATEN.reshape.default
    return fx.GraphModule(exported, graph)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute scaled dot-product attention by its definition, so that its matrix products can be quantized."""
    del dropout_p  # a traced model is one in evaluation mode
    if enable_gqa:
        key, value = (part.repeat_interleave(query.size(-3) // part.size(-3), -3) for part in (key, value))
    weights = torch.matmul(query, key.transpose(-2, -1)) * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(weights.shape[-2:], dtype=torch.bool, device=weights.device).tril()
    if attn_mask is not None:
        weights = (
            weights.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else weights + attn_mask
        )
    return torch.matmul(torch.softmax(weights, dim=-1), value)
