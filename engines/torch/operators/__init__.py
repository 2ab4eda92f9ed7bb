"""Every ONNX operator that the torch backend runs, by name.

An operator is a function `f(*inputs, **attributes)`: tensors in the order of the ONNX specification, None for one that
is left out, and the node's attributes as keywords under their ONNX names. Its signature is its contract: an attribute
that it does not name is one that it does not implement. Shapes, axes and other integers are int64 tensors on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from engines.torch.operators import activations, arithmetic, layers, reductions, shapes, windows

Operator = Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]

OPERATORS: Mapping[str, Operator] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **layers.OPERATORS,
    **reductions.OPERATORS,
    **shapes.OPERATORS,
    **windows.OPERATORS,
}

OLDEST_OPSET = 11
"""Before it, Slice, Pad and others kept their arguments in attributes."""

ATTRIBUTE_VALUES: Mapping[tuple[str, str], tuple[Any, ...]] = {
    ("BatchNormalization", "training_mode"): (0,),
    ("Cast", "to"): tuple(arithmetic.DTYPES),
    ("Gelu", "approximate"): ("none", "tanh"),
    ("Pad", "mode"): ("constant",),
}
"""The values of an operator's attribute that are implemented, by operator and attribute, where that is not all."""


def operator_for(op_type: str, opset: int) -> Operator | None:
    """Return the function that runs an operator of the default domain as that opset means it, or None."""
    if opset < 13 and op_type in activations.BEFORE_OPSET_13:
        return activations.BEFORE_OPSET_13[op_type]
    return OPERATORS.get(op_type)
