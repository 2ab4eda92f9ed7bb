"""Images as PNG, small enough to live inside the page; no imaging package is needed to look at a report."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def png(image: NDArray[np.floating[Any]]) -> bytes:
    """Encode an image (C, H, W) in [0, 1] as an 8-bit PNG: grey for one channel, RGB for three, else their mean."""
    shown = image if image.shape[0] in {1, 3} else image.mean(axis=0, keepdims=True)
    pixels = np.rint(np.clip(shown, 0.0, 1.0) * 255).astype(np.uint8).transpose(1, 2, 0)
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    # Every row begins with its filter, 0 for none.
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    body = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in body)


def png_uri(image: NDArray[np.floating[Any]]) -> str:
    """Encode an image (C, H, W) in [0, 1] as a `data:` URI."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
