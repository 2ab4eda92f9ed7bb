"""Reads IDX, the format of MNIST's files: big-endian sizes, then unsigned bytes."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError

_UNSIGNED_BYTES = 0x08
_WORD = 4


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read one file of unsigned bytes, gzip-compressed where its name ends in `.gz`.

    Args:
        path: the file.
        dimensions: how many dimensions the array must have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape that the file's header gives, not writable.

    Raises:
        InputError: the file cannot be read or is not exactly such an array.
    """
    content = _content(path)
    header = _WORD * (1 + dimensions)
    if len(content) < header:
        raise _corrupt(path, f"its header is truncated at {len(content)} bytes")
    magic = content[:_WORD]
    if magic != bytes((0, 0, _UNSIGNED_BYTES, dimensions)):
        raise _corrupt(path, f"it begins with 0x{magic.hex()}, not with 0x0000{_UNSIGNED_BYTES:02x}{dimensions:02x}")
    shape = tuple(int(size) for size in np.frombuffer(content, dtype=">u4", count=dimensions, offset=_WORD))
    expected, found = math.prod(shape), len(content) - header
    if found != expected:
        state = "is truncated" if found < expected else "has too many bytes"
        raise _corrupt(path, f"it {state}: {found} bytes of data for the shape {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise _corrupt(path, f"its gzip stream is broken ({error})") from error


def _corrupt(path: Path, why: str) -> InputError:
    return InputError(f"{path} is corrupt, {why}: replace it with a whole copy")
