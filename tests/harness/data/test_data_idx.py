from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import InputError
from harness.data.idx import read_idx

pytestmark = pytest.mark.core

HEADER = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4))
WHOLE = HEADER + bytes(range(24))


def test_plain_and_compressed_files_give_the_same_array(tmp_path: Path) -> None:
    plain, compressed = tmp_path / "a-idx3-ubyte", tmp_path / "a-idx3-ubyte.gz"
    plain.write_bytes(WHOLE)
    compressed.write_bytes(gzip.compress(WHOLE))
    expected = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for path in (plain, compressed):
        array = read_idx(path, dimensions=3)
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "header is truncated at 0 bytes"),
        (HEADER[:10], "header is truncated at 10 bytes"),
        (b"\x00\x00\x08\x01" + WHOLE[4:], "begins with 0x00000801, not with 0x00000803"),
        (b"\x00\x00\x0d\x03" + WHOLE[4:], "begins with 0x00000d03"),
        (WHOLE[:-1], "is truncated: 23 bytes of data for the shape (2, 3, 4)"),
        (WHOLE + b"\x00", "has too many bytes: 25 bytes"),
        (HEADER[:4] + b"\xff" * 12 + bytes(24), "is truncated: 24 bytes"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes, why: str, suffix: str) -> None:
    path = tmp_path / f"images-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(InputError, match=re.escape(str(path)) + ".*" + re.escape(why)):
        read_idx(path, dimensions=3)


def test_broken_compression_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    compressed = gzip.compress(WHOLE)
    flipped = bytearray(compressed)
    flipped[-6] ^= 0xFF  # the checksum
    for content in (WHOLE, compressed[:-12], bytes(flipped), compressed[:10] + b"\xff" * 20):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"images\.gz is corrupt, its gzip stream is broken"):
            read_idx(path, dimensions=3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent cannot be read: No such file"):
        read_idx(tmp_path / "absent", dimensions=1)
