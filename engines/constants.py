"""What the constants of an ONNX graph weigh."""

from __future__ import annotations

from pathlib import Path


def constant_bytes(graph: Path) -> int:
    """Return the bytes of a graph's initializers."""
    import numpy as np
    import onnx
    from onnx import helper

    model = onnx.load(str(graph))
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in model.graph.initializer
    )
