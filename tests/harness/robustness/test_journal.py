"""What a journal keeps of finished batches, and what it forgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.robustness.journal import BatchRecord, Journal

pytestmark = pytest.mark.core

NAME = "00-loop-pgd-0000"


def record(n: int = 5) -> BatchRecord:
    random = np.random.default_rng(n)
    return BatchRecord(
        rows=np.arange(n) * 2,
        decisions=random.integers(-1, 10, n),
        distances=np.array([np.inf, *random.random(n - 1)], np.float32),
        shown=np.arange(2),
        adversarial=random.random((2, 1, 3, 3), np.float32),
        queries=77,
        wavering=1,
        seconds=1 / 3,
    )


def same(found: BatchRecord | None, wanted: BatchRecord) -> bool:
    """Say whether every value, its type included, is the same."""
    if found is None:
        return False
    pairs = [(np.asarray(value), np.asarray(vars(wanted)[name])) for name, value in vars(found).items()]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_a_record_comes_back_bit_by_bit(tmp_path: Path) -> None:
    Journal(tmp_path / "j", "a").keep(NAME, record())
    found = Journal(tmp_path / "j", "a").recall(NAME)
    assert same(found, record())
    assert found is not None
    assert [type(value) for value in (found.queries, found.wavering, found.seconds)] == [int, int, float]
    assert Journal(tmp_path / "j", "a").recall("00-loop-pgd-0001") is None
    assert {path.name for path in (tmp_path / "j").iterdir()} == {"protocol.json", f"{NAME}.npz"}


def test_what_was_made_from_anything_else_is_forgotten(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j", "a")
    first.keep(NAME, record())
    first.fact("batch", lambda: 64)
    other = Journal(tmp_path / "j", "b")
    assert other.recall(NAME) is None
    assert other.fact("batch", lambda: 32) == 32
    assert Journal(tmp_path / "j", "a").recall(NAME) is None, "and stays so"


def test_what_nobody_knows_the_origin_of_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "a")
    journal.keep(NAME, record())
    (tmp_path / "j" / "protocol.json").unlink()  # as where a process is killed while it forgets
    assert Journal(tmp_path / "j", "b").recall(NAME) is None


def test_a_fact_is_found_once(tmp_path: Path) -> None:
    def never() -> int:
        raise AssertionError("it is known")

    assert Journal(tmp_path / "j", "a").fact("batch", lambda: 64) == 64
    assert Journal(tmp_path / "j", "a").fact("batch", never) == 64


def test_without_a_folder_nothing_is_remembered() -> None:
    journal = Journal(None)
    journal.keep(NAME, record())
    assert journal.recall(NAME) is None
    assert [journal.fact("batch", lambda: 64), journal.fact("batch", lambda: 32)] == [64, 32]
    journal.close()


def test_closing_leaves_nothing_but_what_others_left_unfinished(tmp_path: Path) -> None:
    one, other = (Journal(tmp_path / "unfinished" / name, "a") for name in ("one", "other"))
    one.keep(NAME, record())
    other.keep(NAME, record())
    one.close()
    assert not (tmp_path / "unfinished" / "one").exists()
    assert same(other.recall(NAME), record())
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "a")
    journal.keep(NAME, record(4))

    def half(file: object, **arrays: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="no space"):
        journal.keep(NAME, record(5))
    assert same(journal.recall(NAME), record(4))
    assert {path.name for path in tmp_path.iterdir()} == {"protocol.json", f"{NAME}.npz"}


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_record_is_none(tmp_path: Path, kept: float) -> None:
    journal = Journal(tmp_path, "a")
    journal.keep(NAME, record())
    path = tmp_path / f"{NAME}.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert journal.recall(NAME) is None


@pytest.mark.parametrize("name", ["decisions", "adversarial"])
def test_a_shape_that_lost_a_row_is_none(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path, "a")
    large = replace(record(2000), adversarial=np.zeros((2000, 1, 3, 3), np.float32))
    journal.keep(NAME, large)
    path = tmp_path / f"{NAME}.npz"
    whole = path.read_bytes()
    at = whole.index(b"(2000,", whole.index(f"{name}.npy".encode()))
    path.write_bytes(whole[:at] + b"(1999," + whole[at + 6 :])
    assert journal.recall(NAME) is None


@pytest.mark.parametrize(("offset", "bit"), [(6, 7), (8, 0), (8, 5), (10, 3)])
def test_an_archive_that_says_it_is_encrypted_or_of_a_later_version_is_none(
    tmp_path: Path, offset: int, bit: int
) -> None:
    journal = Journal(tmp_path, "a")
    journal.keep(NAME, record())
    path = tmp_path / f"{NAME}.npz"
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"PK\1\2") + offset] ^= 1 << bit
    path.write_bytes(damaged)
    assert journal.recall(NAME) is None


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_bit_never_becomes_another_outcome(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, "a")
    journal.keep(NAME, record())
    path = folder / f"{NAME}.npz"
    damaged = bytearray(path.read_bytes())
    damaged[int(place * len(damaged))] ^= 1 << bit
    path.write_bytes(damaged)
    found = journal.recall(NAME)
    assert found is None or same(found, record()), "a bit of what the archive says beside the arrays may not matter"


def test_a_record_of_another_kind_is_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a")
    known = vars(record())
    np.savez(tmp_path / "less.npz", **{name: value for name, value in known.items() if name != "rows"})
    np.savez(tmp_path / "more.npz", **known, image=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", **{**known, "rows": np.array([object()])})
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "folder.npz").mkdir()
    for name in ("less", "more", "pickled", "text", "folder"):
        assert journal.recall(name) is None, name


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[:9], lambda text: "[1, 2]", lambda text: "\0"])
def test_a_damaged_list_of_facts_forgets_everything(tmp_path: Path, damage: Callable[[str], str]) -> None:
    journal = Journal(tmp_path / "j", "a")
    journal.keep(NAME, record())
    path = tmp_path / "j" / "protocol.json"
    path.write_text(damage(path.read_text()))
    again = Journal(tmp_path / "j", "a")
    assert again.recall(NAME) is None, "nobody knows any more what it was made from"
    assert again.fact("batch", lambda: 32) == 32
    assert json.loads(path.read_text()) == {"made_from": "a", "batch": 32}
