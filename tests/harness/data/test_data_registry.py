from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import InputError
from harness.data import registry
from harness.data.dataset import DataSet, Source

pytestmark = pytest.mark.core


def source(*files: Path) -> Source:
    def read() -> DataSet:
        raise AssertionError("a fingerprint reads no data set")

    return Source("npz", files, read)


def test_importing_the_registry_imports_no_heavy_package() -> None:
    code = (
        "import sys; import harness.data.registry as registry; "
        "print(sorted({'torch', 'torchvision', 'sklearn', 'scipy', 'PIL'} & set(sys.modules)), registry.NAMES)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[] ('digits', 'fashion-mnist', 'cifar10', 'image-folder', 'npz')"


def test_every_name_leads_to_a_finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in registry.NAMES:
        if name != "digits":
            with pytest.raises(InputError, match=name):
                registry.find(name, path=tmp_path / "absent")


def test_a_found_source_bears_its_name_and_reads(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((10, 4, 4), dtype=np.uint8), labels=np.arange(10) % 2)
    found = registry.find("npz", path=tmp_path / "a.npz")
    assert found.name == "npz"
    assert found.read().classes == 2


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown data set 'fashionmnist'; did you mean 'fashion-mnist'\?.*digits"):
        registry.find("fashionmnist")


def test_a_fingerprint_follows_content_and_names_but_not_the_place(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "1").write_bytes(b"one")
        (folder / "train" / "2").write_bytes(b"two")
    first, second = (registry.fingerprint(source(f / "train" / "1", f / "train" / "2")) for f in folders)
    assert first == second
    assert len(first) == 64
    assert registry.fingerprint(source(folders[0] / "train" / "2", folders[0] / "train" / "1")) == first
    os.utime(folders[1] / "train" / "1", (1, 1))
    assert registry.fingerprint(source(folders[1] / "train" / "1", folders[1] / "train" / "2")) == first
    (folders[1] / "train" / "1").write_bytes(b"oNe")
    assert registry.fingerprint(source(folders[1] / "train" / "1", folders[1] / "train" / "2")) != first
    (folders[0] / "train" / "1").rename(folders[0] / "train" / "3")
    assert registry.fingerprint(source(folders[0] / "train" / "3", folders[0] / "train" / "2")) != first


def test_with_many_files_size_and_time_stand_in_for_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAX_FILES_READ", 1)
    files = tmp_path / "1", tmp_path / "2"
    for file in files:
        file.write_bytes(b"abc")
        os.utime(file, ns=(1, 1_000_000_000))
    first = registry.fingerprint(source(*files))
    files[0].write_bytes(b"xyz")
    os.utime(files[0], ns=(1, 1_000_000_000))
    assert registry.fingerprint(source(*files)) == first
    os.utime(files[0], ns=(1, 2_000_000_000))
    assert registry.fingerprint(source(*files)) != first
    files[0].write_bytes(b"abcd")
    os.utime(files[0], ns=(1, 1_000_000_000))
    assert registry.fingerprint(source(*files)) != first
