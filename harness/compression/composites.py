"""ATen operators that are several in ONNX: taken apart alike before either is quantized.

The exporter writes `addmm` as a product and a sum. A twin that knew it as one operator of its own would not quantize
what the rule table quantizes in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

_ATEN = torch.ops.aten


def attention(
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


def _added(first: Tensor, second: Any, *, alpha: float = 1) -> Any:
    if alpha == 1 or not isinstance(second, Tensor):
        return NotImplemented  # it stays as it is
    return torch.add(first, second * alpha)


def _product_added(bias: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = torch.matmul(first, second)
    return torch.add(product if alpha == 1 else product * alpha, bias if beta == 1 else bias * beta)


COMPOSITES: Mapping[Any, Callable[..., Any]] = MappingProxyType(
    {
        _ATEN.scaled_dot_product_attention.default: attention,
        _ATEN.add.Tensor: _added,
        _ATEN.addmm.default: _product_added,
        _ATEN.baddbmm.default: _product_added,
    }
)
