from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import InputError, MissingDependencyError
from harness.data import fashion_mnist
from harness.data.dataset import Location

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def write(folder: Path, *, train: int = 6, test: int = 4, compress: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    arrays = []
    for count in (train, test):
        arrays.append(random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        arrays.append((np.arange(count) % 10).astype(np.uint8))
    for name, array in zip(NAMES, arrays, strict=True):
        content = idx(array)
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("place", [".", "FashionMNIST/raw", "fashion-mnist"])
def test_a_given_folder_is_read_in_every_layout(tmp_path: Path, place: str, compress: bool) -> None:
    write(tmp_path / "given" / place, compress=compress)
    source = fashion_mnist.find(Location(data_dir=tmp_path / "given"))
    assert len(source.files) == 4
    data = source.read()
    assert data.train.images.shape == (6, 1, 28, 28)
    assert data.test.labels.tolist() == [0, 1, 2, 3]
    assert data.class_names[0] == "T-shirt/top"


def test_pixels_are_bytes_over_255(tmp_path: Path) -> None:
    folder = write(tmp_path / "given", compress=False)
    raw = np.frombuffer((folder / NAMES[0]).read_bytes(), dtype=np.uint8, offset=16)
    images = fashion_mnist.find(Location(path=folder)).read().train.images
    np.testing.assert_array_equal(images.ravel(), raw.astype(np.float32) / np.float32(255))


def test_folders_are_looked_through_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, debian = tmp_path / "environment", tmp_path / "debian"
    cache = tmp_path / "cache" / "edge-robustness-harness"
    monkeypatch.setenv("HARNESS_DATA", str(environment))
    given = write(tmp_path / "given")
    for folder, below in ((cache, "fashion-mnist"), (debian, "."), (environment, "FashionMNIST/raw")):
        write(folder / below)
        assert fashion_mnist.find(Location()).files[0].is_relative_to(folder)
    found = fashion_mnist.find(Location(path=environment, data_dir=given))
    assert found.files[0].parent == given


def test_an_explicit_folder_without_the_files_is_never_replaced_by_another(tmp_path: Path) -> None:
    write(tmp_path / "debian")
    (tmp_path / "empty").mkdir()
    partly = write(tmp_path / "partly")
    (partly / f"{NAMES[3]}.gz").unlink()
    for given, state in (("empty", "does not hold"), ("partly", "does not hold"), ("absent", "is no folder")):
        with pytest.raises(InputError, match=f"{given} {state}") as caught:
            fashion_mnist.find(Location(data_dir=tmp_path / given))
        for way in ("--data-dir DIR", "$HARNESS_DATA", "apt-get install dataset-fashion-mnist"):
            assert way in str(caught.value)


def replaced_download(monkeypatch: pytest.MonkeyPatch, constructor: Callable[[Path, bool], None]) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets, "FashionMNIST", constructor)


def test_a_download_is_kept_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def download_it(root: Path, download: bool) -> None:
        calls.append(download)
        print("Downloading")  # noqa: T201
        write(root / "FashionMNIST" / "raw")

    replaced_download(monkeypatch, download_it)
    first, second = fashion_mnist.find(Location()), fashion_mnist.find(Location())
    assert calls == [True]
    assert first.files == second.files
    kept = tmp_path / "cache" / "edge-robustness-harness"
    assert first.files[0].parent == kept / "fashion-mnist"
    assert [entry.name for entry in kept.iterdir()] == ["fashion-mnist"]
    assert len(first.read().train) == 6
    assert capsys.readouterr().out == ""


def test_a_failing_download_gives_the_reason_and_the_ways_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(root: Path, download: bool) -> None:
        write(root / "FashionMNIST" / "raw")
        raise RuntimeError("Error downloading:\nname resolution failed")

    replaced_download(monkeypatch, torn)
    with pytest.raises(InputError, match=r"\(Error downloading: name resolution failed\).*--data-dir DIR.*apt-get"):
        fashion_mnist.find(Location())
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_without_torchvision_the_message_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(MissingDependencyError, match=r"edge-robustness-harness\[train\].*apt-get install"):
        fashion_mnist.find(Location())


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "given", compress=False)
    (folder / NAMES[1]).write_bytes(idx(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(InputError, match=f"{NAMES[0]} holds 6 images but .*{NAMES[1]} 5 labels"):
        fashion_mnist.find(Location(data_dir=folder)).read()
    (folder / NAMES[1]).write_bytes(idx(np.full(6, 10, dtype=np.uint8)))
    with pytest.raises(InputError, match=f"{NAMES[1]} is corrupt, it holds the label 10"):
        fashion_mnist.find(Location(data_dir=folder)).read()
    for name in NAMES[:2]:
        shape = (0, 28, 28) if "images" in name else (0,)
        (folder / name).write_bytes(idx(np.zeros(shape, dtype=np.uint8)))
    with pytest.raises(InputError, match="training split"):
        fashion_mnist.find(Location(data_dir=folder)).read()


def test_the_debian_package(monkeypatch: pytest.MonkeyPatch) -> None:
    debian = Path("/usr/share/datasets/fashion-mnist")
    if not debian.is_dir():
        pytest.skip("needs the Debian package dataset-fashion-mnist")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", debian)
    source = fashion_mnist.find(Location())
    assert source.files[0].parent == debian
    data = source.read()
    assert (data.train.images.shape, data.test.images.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.class_names[data.train.labels[0]] == "Ankle boot"
