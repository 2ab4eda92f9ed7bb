from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import InputError, MissingDependencyError
from harness.data import image_folder
from harness.data.dataset import Location

Image = pytest.importorskip("PIL.Image")


def save(path: Path, mode: str = "RGB", size: tuple[int, int] = (6, 4), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("train/dog/2.png", "train/dog/10.PNG", "train/cat/1.png", "test/dog/1.png")):
        save(tmp_path / "pets" / name, seed=seed)
    return tmp_path / "pets"


def test_files_and_classes_are_sorted_and_pixels_kept(folder: Path) -> None:
    (folder / "train" / "dog" / "notes.txt").write_text("not an image")
    (folder / "train" / ".hidden").mkdir()
    source = image_folder.find(Location(path=folder))
    names = [file.relative_to(folder).as_posix() for file in source.files]
    assert names == ["train/cat/1.png", "train/dog/10.PNG", "train/dog/2.png", "test/dog/1.png"]
    data = source.read()
    assert data.class_names == ("cat", "dog")
    assert data.input_shape == (3, 4, 6)
    assert data.train.labels.tolist() == [0, 1, 1]
    assert data.test.labels.tolist() == [1]
    with Image.open(source.files[0]) as image:
        expected = np.asarray(image).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.train.images[0].transpose(1, 2, 0), expected)


def test_val_stands_for_test(folder: Path) -> None:
    (folder / "test").rename(folder / "val")
    assert len(image_folder.find(Location(path=folder)).read().test) == 1


def test_images_are_gray_only_if_all_are(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png"):
        save(tmp_path / name, "L")
    assert image_folder.find(Location(path=tmp_path)).read().input_shape == (1, 4, 6)
    save(tmp_path / "test/b/1.png", "RGBA")
    assert image_folder.find(Location(path=tmp_path)).read().input_shape == (3, 4, 6)


def test_differing_sizes_name_both_and_the_setting(folder: Path) -> None:
    save(folder / "test/cat/odd.png", size=(5, 4))
    with pytest.raises(InputError, match=r"cat/1\.png is 6 x 4 and .*cat/odd\.png 5 x 4: set data\.size"):
        image_folder.find(Location(path=folder)).read()
    data = image_folder.find(Location(path=folder, size=8)).read()
    assert data.input_shape == (3, 8, 8)
    assert len(data.test) == 2


def test_a_torn_image_is_named(folder: Path) -> None:
    whole = (folder / "train/dog/2.png").read_bytes()
    for content in (b"", b"not an image", whole[:20], whole[:60]):
        (folder / "train/dog/2.png").write_bytes(content)
        with pytest.raises(InputError, match=r"dog/2\.png cannot be read as an image"):
            image_folder.find(Location(path=folder)).read()


def test_deep_pixels_are_refused_rather_than_clipped(folder: Path) -> None:
    Image.fromarray(np.full((4, 6), 40_000, dtype=np.uint16)).save(folder / "test/dog/deep.png")
    with pytest.raises(InputError, match=r"deep\.png has pixels of the kind 'I;16'"):
        image_folder.find(Location(path=folder)).read()


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    def message(**settings: object) -> str:
        with pytest.raises(InputError) as caught:
            image_folder.find(Location(**settings))  # type: ignore[arg-type]
        return str(caught.value)

    assert "needs data.path" in message(data_dir=folder)
    assert "absent not found" in message(path=tmp_path / "absent")
    assert "data.size is 0" in message(path=folder, size=0)
    save(folder / "test/bird/1.png")
    assert f"{folder}/test/bird has no counterpart" in message(path=folder)
    (folder / "train/bird").mkdir()
    assert f"{folder}/train/bird holds no images" in message(path=folder)
    (folder / "test").rename(folder / "other")
    assert f"{folder} has no folder test or val" in message(path=folder)
    (folder / "test").mkdir()
    (folder / "train/bird").rmdir()
    assert f"{folder}/test holds no images" in message(path=folder)
    (folder / "train").rename(folder / "training")
    assert f"{folder} has no folder train" in message(path=folder)
    (folder / "train").mkdir()
    assert f"{folder}/train holds no images" in message(path=folder)


def test_a_relative_path_is_found_below_the_data_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "elsewhere").mkdir()
    monkeypatch.chdir(folder.parent / "elsewhere")
    source = image_folder.find(Location(path=Path("pets"), data_dir=folder.parent))
    assert source.files[0].is_relative_to(folder)


def test_without_pillow_the_message_names_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingDependencyError, match="pip install pillow"):
        image_folder.find(Location(path=folder)).read()
