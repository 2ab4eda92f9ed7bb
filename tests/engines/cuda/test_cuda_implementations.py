from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from contracts.errors import InputError, MissingDependencyError
from engines.cuda import implementations as room
from engines.cuda.driver import Gpu, NoGpu
from engines.cuda.implementations import implementations, missing, open_device
from tests.engines.cuda.simulated_driver import run_python

pytestmark = pytest.mark.core

GPU = Gpu("a GPU", (8, 9), 58, 1 << 30, "13.0")


@pytest.fixture(autouse=True)
def a_gpu_and_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "find_gpu", lambda: GPU)
    monkeypatch.delenv("HARNESS_CUDA", raising=False)


def install(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    def find_spec(name: str) -> object:
        if name not in packages and "." in name:
            raise ModuleNotFoundError(name)  # as for `cuda.bindings` where there is no `cuda`
        return name if name in packages else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


@pytest.mark.parametrize(
    ("packages", "names"),
    [
        ((), ()),
        (("cuda.bindings",), ("cuda-python",)),
        (("pycuda",), ("pycuda",)),
        (("cuda.bindings", "pycuda"), ("pycuda", "cuda-python")),
    ],
)
def test_what_is_installed_is_known_pycuda_first(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], names: tuple[str, ...]
) -> None:
    install(monkeypatch, *packages)
    assert implementations() == names


def test_without_a_package_the_remedy_installs_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert missing() == (
        "neither cuda-python nor pycuda is installed",
        "pip install 'edge-robustness-harness[cuda-python]'",
    )
    with pytest.raises(MissingDependencyError, match=r"pip install 'edge-robustness-harness\[cuda-python\]'$"):
        open_device()


def test_a_choice_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "cuda.bindings")
    assert missing() is None
    expected = ("pycuda is not installed", "pip install 'edge-robustness-harness[pycuda]'")
    assert missing("pycuda") == expected
    monkeypatch.setenv("HARNESS_CUDA", "pycuda")
    assert missing() == expected
    with pytest.raises(MissingDependencyError, match="pycuda is not installed: pip install"):
        open_device()


def test_an_unknown_choice_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CUDA", "pycdua")
    with pytest.raises(InputError, match=r"unknown CUDA implementation 'pycdua'; did you mean 'pycuda'\?"):
        open_device()


def test_no_gpu_is_said_as_the_driver_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "cuda.bindings")
    monkeypatch.setattr(room, "find_gpu", lambda: NoGpu("there is none", "buy one"))
    assert missing() == ("there is none", "buy one")
    with pytest.raises(MissingDependencyError, match="there is none: buy one"):
        open_device()


def test_a_package_that_cannot_be_imported_is_a_missing_one(simulated_libcuda: Path, tmp_path: Path) -> None:
    broken = tmp_path / "pycuda"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libcurand.so.10: not found')", encoding="utf-8")
    ask = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from contracts.errors import MissingDependencyError
from engines.cuda.implementations import open_device
try:
    open_device()
except MissingDependencyError as error:
    print(error)
"""
    said = run_python(simulated_libcuda, "-c", ask)
    assert said.startswith("pycuda is installed but cannot be imported (libcurand.so.10: not found): install it again")
    assert "HARNESS_CUDA" in said
