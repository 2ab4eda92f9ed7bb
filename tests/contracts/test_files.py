from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from contracts.files import (
    canonical_json,
    read_json,
    sha256_bytes,
    sha256_file,
    sha256_json,
    whole_file,
    write_json,
    write_text,
)

pytestmark = pytest.mark.core

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def fail_half_way() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as temporary:
        assert temporary.parent == path.parent, "a rename across file systems is no rename"
        temporary.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_no_numbers_are_not_written(tmp_path: Path, number: float) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": number})
    assert read_json(path, "value") == {"value": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([number])


@given(st.dictionaries(st.text(), VALUES))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)
    assert sha256_json(turned) == sha256_json(value)
    assert json.loads(canonical_json(value)) == value


def test_different_values_have_different_digests() -> None:
    assert len({sha256_json(value) for value in (1, 1.5, "1", [1], {"1": 1}, None, True)}) == 7


def test_a_file_s_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # more than one piece
    (tmp_path / "data").write_bytes(data)
    assert sha256_file(tmp_path / "data") == sha256_bytes(data)
    assert sha256_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("data", "why"), [(b'{"half": ', "not whole JSON"), (b"\xff\xfe", "not whole JSON"), (None, "cannot be read")]
)
def test_unreadable_json_is_named(tmp_path: Path, data: bytes | None, why: str) -> None:
    path = tmp_path / "table.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=rf"calibration table .*table\.json .*{why}"):
        read_json(path, "calibration table")
