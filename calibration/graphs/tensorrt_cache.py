"""TensorRT's own calibration cache: the text that an older pipeline's `IInt8Calibrator` reads back.

One line a tensor: its name and its scale as the hexadecimal digits of an IEEE single, under a heading that names the
version and the calibrator. TensorRT 8 and 10 read it where a network has no Q/DQ nodes; 11 has no calibrators.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

_VERSION = 8601
_CALIBRATOR = "EntropyCalibration2"


def activation_scales(model: onnx.ModelProto) -> dict[str, float]:
    """Return the scale of every activation that a Q/DQ graph quantizes per tensor, by tensor name."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.input[0]: float(numpy_helper.to_array(constants[node.input[1]]))
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }


def cache_text(scales: Mapping[str, float], version: int = _VERSION) -> str:
    """Return the cache of a network.

    Args:
        scales: by the names of the float graph's tensors.
        version: TensorRT's, as in its header: major, minor (two digits each where needed) and patch run together.
    """
    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items()]
    return "\n".join([f"TRT-{version}-{_CALIBRATOR}", *lines]) + "\n"


def read_cache_text(text: str) -> dict[str, float]:
    """Return the scales in a cache.

    Raises:
        InputError: it is none.
    """
    heading, *lines = text.splitlines() or [""]
    try:
        if not heading.startswith("TRT-"):
            raise ValueError(heading[:40])
        pairs = [line.rsplit(": ", 1) for line in lines if line.strip()]
        return {name: struct.unpack(">f", bytes.fromhex(digits))[0] for name, digits in pairs}
    except (ValueError, struct.error) as error:
        raise InputError(f"this is no TensorRT calibration cache ({error}): write it again") from error
