"""Shapes, host memory, and the functions of the module itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tests.engines.tensorrt.simulated.behaviour import Behaviour

MAX_DIMS = 8
ITEM_BYTES = {"BF16": 2, "HALF": 2, "INT8": 1, "BOOL": 1, "UINT8": 1, "FP8": 1, "INT64": 8, "INT4": 0.5, "FP4": 0.5}
NUMPY: dict[str, Any] = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64}
NUMPY |= {"BOOL": np.bool_, "UINT8": np.uint8}


class Dims(Behaviour):
    """A shape: no tuple, but equal to one; iterates by its indices."""

    MAX_DIMS = property(lambda _: MAX_DIMS)

    def _begin(self, shape: Sequence[int] = (), **dims: int) -> None:
        values = [int(value) for value in (*shape, *dims.values())]
        if len(values) > MAX_DIMS:
            raise ValueError(f"the input shape has {len(values)} dimensions, TensorRT takes {MAX_DIMS}")
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, arg0: int | slice) -> Any:
        found = self._values[arg0]
        return found if isinstance(found, int) else tuple(found)

    def __setitem__(self, arg0: int, arg1: int) -> None:
        self._values[arg0] = arg1

    def __eq__(self, arg0: object) -> bool:
        return isinstance(arg0, (tuple, list)) and list(arg0) == self._values

    def __hash__(self) -> int:
        return hash(tuple(self._values))

    def __repr__(self) -> str:
        return str(tuple(self._values))


def dims(trt: Any, shape: Iterable[int]) -> Any:
    """Return a `Dims`."""
    return trt.Dims(list(shape))


class HostMemory(Behaviour):
    """Bytes that are read through the buffer protocol and in no other way; Python before 3.12 asks for real bytes."""

    _bases = (bytes,)
    dtype = property(lambda self: self._trt.DataType.INT8)
    nbytes = property(lambda self: memoryview(self).nbytes)

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in type(self)._members:  # type: ignore[attr-defined]
            raise AttributeError(f"'{type(self).__module__}.IHostMemory' object has no attribute '{name}'")
        return object.__getattribute__(self, name)

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")

    def __iter__(self) -> Any:
        raise TypeError("'IHostMemory' object is not iterable")

    def __getitem__(self, arg0: Any) -> Any:
        raise TypeError("'IHostMemory' object is not subscriptable")

    def __bool__(self) -> bool:
        return True


def host_memory(trt: Any, data: bytes) -> Any:
    """Return an `IHostMemory` that holds `data`."""
    made = bytes.__new__(trt.IHostMemory, data)
    vars(made)["_constructed"] = True
    return made


def itemsize(kind: Any) -> float:
    """Return the bytes of a `DataType`."""
    return ITEM_BYTES.get(kind.name, 4)


def _nptype(_: Any, trt_type: Any) -> Any:
    if trt_type.name not in NUMPY:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return NUMPY[trt_type.name]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "volume": lambda _, iterable: math.prod(iterable),
    "nptype": _nptype,
    "init_libnvinfer_plugins": lambda _, logger, namespace: True,
}
BEHAVIOURS: dict[str, type] = {
    **dict.fromkeys(("Dims", "Dims2", "Dims3", "Dims4"), Dims),
    "IHostMemory": HostMemory,
}
