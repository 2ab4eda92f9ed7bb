"""Reads pickles of lists, dictionaries and integer arrays without running anything that the file names.

A pickle can name any function and have it called. Here the few names that NumPy's arrays are written with lead to
stand-ins that only remember what they are given, NumPy's own code for pickles never runs, and other names are refused.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import InputError

_INTEGERS = re.compile(r"[iu][1248]")


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary, as Python 2 or 3 writes it.

    Returns:
        The dictionary with its keys as text and its arrays, which must be of integers, as NumPy arrays.

    Raises:
        InputError: the file cannot be read, is corrupt, or holds anything but dictionaries, lists, tuples, numbers,
            text, bytes and integer arrays.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        # latin1, as torchvision reads these files: the bytes of Python 2's text come through unchanged.
        value = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(value, dict):
            raise pickle.UnpicklingError(f"it holds a {type(value).__name__}, not a dictionary")
        return {_text(key): item.array() if isinstance(item, _Array) else item for key, item in value.items()}
    except Exception as error:  # a torn or hostile pickle can raise anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is corrupt or not what it should be ({why}): replace it with a whole copy") from error


class _Dtype:
    """Stands in for a numpy.dtype."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        if not (isinstance(self.name, str) and _INTEGERS.fullmatch(self.name) and self.order in ("<", ">", "|", "=")):
            raise pickle.UnpicklingError(f"an array of {self.name!r} where integers belong")
        return np.dtype(self.order + self.name)


class _Array:
    """Stands in for a numpy.ndarray: remembers its state, and makes an array of it once all is loaded."""

    def __init__(self, *_: object) -> None:
        self._state: Any = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def array(self) -> np.ndarray[Any, Any]:
        _, shape, dtype, in_fortran_order, raw = self._state
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array without a type")
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array without bytes")
        values: np.ndarray[Any, Any] = np.frombuffer(content, dtype=dtype.dtype())
        if any(size < 0 for size in shape) or math.prod(shape) != values.size:
            raise pickle.UnpicklingError(f"{values.size} values for an array of shape {shape}")
        shaped: np.ndarray[Any, Any] = values.reshape(shape, order="F" if in_fortran_order else "C")
        return shaped


def _latin1(text: object, encoding: object) -> bytes:
    """Stands in for codecs.encode, which protocols 0 to 2 write the bytes of Python 3 with."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,  # only ever handed to _reconstruct
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    ("codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return _STAND_INS[module, name]


def _text(key: object) -> str:
    if isinstance(key, bytes):
        return key.decode("latin1")
    if isinstance(key, str):
        return key
    raise pickle.UnpicklingError(f"the key {key!r}")
