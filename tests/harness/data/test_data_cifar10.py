from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from harness.data import cifar10
from harness.data.dataset import Location

pytestmark = pytest.mark.core

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder: Path, protocol: int = 2, *, byte_keys: bool = False) -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in BATCHES:
        pixels = random.integers(0, 256, (4, 3072), dtype=np.uint8)
        entry: dict[Any, Any] = {
            "batch_label": name,
            "labels": [0, 9, 3, 5],
            "data": pixels,
            "filenames": ["a.png"] * 4,
        }
        if byte_keys:
            entry = {key.encode(): value for key, value in entry.items()}
        (folder / name).write_bytes(pickle.dumps(entry, protocol=protocol))
    meta = {"num_cases_per_batch": 4, "label_names": CLASSES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=protocol))
    return folder


def python2_batch(pixels: bytes, count: int) -> bytes:
    """The opcodes that Python 2's cPickle wrote the published files with."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01b\x87Rq\n"
        b"(K\x01K" + bytes([count]) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x0bU\x02u1K\x00K\x01\x87Rq\x0c"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + len(pixels).to_bytes(4, "little")
    )
    return b"\x80\x02}q\x01(U\x06labelsq\x04]q\x05(" + b"K\x07" * count + b"eU\x04dataq\x06" + array + pixels + b"tbu."


@pytest.mark.parametrize("place", [".", "cifar-10-batches-py", "cifar10", "cifar10/cifar-10-batches-py"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_every_layout_and_protocol_gives_the_same_images(tmp_path: Path, place: str, protocol: int) -> None:
    folder = write(tmp_path / "given" / place, protocol, byte_keys=protocol == 4)
    source = cifar10.find(Location(data_dir=tmp_path / "given"))
    assert sorted(file.name for file in source.files) == sorted([*BATCHES, "batches.meta"])
    data = source.read()
    assert data.class_names == tuple(CLASSES)
    assert data.train.images.shape == (20, 3, 32, 32)
    assert data.test.labels.tolist() == [0, 9, 3, 5]
    written: dict[Any, Any] = pickle.loads((folder / "data_batch_1").read_bytes())
    pixels = written["data" if "data" in written else b"data"]
    np.testing.assert_array_equal(data.train.images[0].ravel(), pixels[0].astype(np.float32) / np.float32(255))


def test_a_batch_in_the_bytes_of_python_2_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "given")
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3072), dtype=np.uint8)
    content = python2_batch(pixels.tobytes(), 2)
    np.testing.assert_array_equal(pickle.loads(content, encoding="latin1")["data"], pixels)
    (folder / "test_batch").write_bytes(content)
    test = cifar10.find(Location(data_dir=folder)).read().test
    assert test.labels.tolist() == [7, 7]
    np.testing.assert_array_equal(np.rint(test.images.reshape(2, 3072) * 255), pixels)


class Hostile:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("file", ["data_batch_2", "test_batch", "batches.meta"])
def test_a_hostile_file_runs_nothing(tmp_path: Path, file: str, protocol: int) -> None:
    folder = write(tmp_path / "given")
    trace = tmp_path / "trace"
    for function, arguments in ((os.mkdir, (str(trace),)), (eval, (f"__import__('os').mkdir({str(trace)!r})",))):
        content = pickle.dumps({"data": Hostile(function, *arguments), "labels": []}, protocol=protocol)
        (folder / file).write_bytes(content)
        with pytest.raises(InputError, match=f"{file} is corrupt.*which no array needs"):
            cifar10.find(Location(data_dir=folder)).read()
        assert not trace.exists()
        pickle.loads(content)  # the file does what it says where pickles are trusted
        assert trace.exists()
        trace.rmdir()


def batch(**changed: object) -> bytes:
    return pickle.dumps({"data": np.zeros((4, 3072), dtype=np.uint8), "labels": [0, 1, 2, 3], **changed}, protocol=2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Ran out of input"),
        (batch()[:-100], "is corrupt"),
        (b"\x80\x02" + b"\xff" * 40, "is corrupt"),
        (pickle.dumps([1, 2], protocol=2), "holds a list, not a dictionary"),
        (pickle.dumps({"labels": []}, protocol=2), "it has no data, only labels"),
        (batch(data=np.zeros((4, 3071), dtype=np.uint8)), "not rows of 3072 bytes"),
        (batch(data=np.zeros((4, 3072), dtype=np.int16)), "not rows of 3072 bytes"),
        (batch(data=np.zeros((4, 3072), dtype=np.float32)), "array of 'f4' where integers belong"),
        (batch(data=np.array([None, 1], dtype=object)), "an array without bytes"),
        (batch(labels=[0, 1, 2]), "4 images but 3 labels"),
        (batch(labels=[0, 1, 2, 10]), "not all within 0 to 9"),
        (batch(labels=[0, 1, 2, -1]), "not all within 0 to 9"),
        (batch(labels=["0", "1", "2", "3"]), "not all within 0 to 9"),
        (python2_batch(bytes(3072), 2), "3072 values for an array of shape (2, 3072)"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    folder = write(tmp_path / "given")
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(InputError, match=f"data_batch_3 (?=is corrupt).*{re.escape(why)}"):
        cifar10.find(Location(data_dir=folder)).read()


def test_every_truncation_of_a_batch_is_an_input_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "given")
    whole = batch()
    for length in (*range(1, 120), len(whole) - 1):
        (folder / "data_batch_1").write_bytes(whole[:length])
        with pytest.raises(InputError, match="data_batch_1"):
            cifar10.find(Location(data_dir=folder)).read()


def test_an_explicit_folder_without_the_files_names_the_ways(tmp_path: Path) -> None:
    folder = write(tmp_path / "given")
    (folder / "data_batch_5").unlink()
    with pytest.raises(InputError, match=r"given does not hold .*--data-dir DIR or \$HARNESS_DATA"):
        cifar10.find(Location(path=folder))


def test_a_download_unpacks_without_loading_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("torchvision.datasets.utils")
    calls = []

    def download_it(url: str, root: Path, filename: str, md5: str) -> None:
        calls.append(url)
        write(root / "cifar-10-batches-py")

    monkeypatch.setattr(module, "download_and_extract_archive", download_it)
    first, second = cifar10.find(Location()), cifar10.find(Location())
    assert len(calls) == 1
    assert first.files == second.files
    assert len(first.read().train) == 20
