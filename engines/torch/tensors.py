"""ONNX tensors as torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx
    import torch


def to_torch(proto: onnx.TensorProto) -> torch.Tensor:
    """Return a tensor's own copy of an ONNX tensor's values: every floating type as float32, others as they are.

    Raises:
        InputError: its element type is none that the torch backend runs, or its values lie in a file that was not read.
    """
    import torch
    from onnx import TensorProto, numpy_helper

    from engines.torch.operators.arithmetic import DTYPES

    if proto.data_location == TensorProto.EXTERNAL:
        raise InputError(
            f"the values of tensor {proto.name!r} lie in a file of their own: load the model from its path"
        )
    if proto.data_type not in DTYPES:
        kind = TensorProto.DataType.Name(proto.data_type)
        raise InputError(f"the torch backend cannot hold tensor {proto.name!r} of type {kind}: use another backend")
    values = numpy_helper.to_array(proto)
    floating = DTYPES[proto.data_type].is_floating_point
    return torch.from_numpy(np.array(values, np.float32 if floating else values.dtype))
