from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import InputError
from harness.data import registry

pytestmark = pytest.mark.core

SHAPES = """
import numpy as np
from harness.data.dataset import DataSet, Split
from contracts.errors import InputError

def split(n):
    return Split(np.zeros((n, 1, 4, 4), dtype=np.float32), np.zeros(n, dtype=np.int64))

def build():
    return DataSet("shapes", ("square",), split(3), split(2))

def pair():
    return split(3), split(2)

def broken():
    raise RuntimeError("no disk")

def wrong():
    return DataSet("shapes", (), split(3), split(2))

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name: str, source: str) -> str:
        # Modules stay imported, so each test names its own.
        assert name not in before
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def test_a_callable_in_the_current_folder_gives_the_data_set(module: Callable[[str, str], str], tmp_path: Path) -> None:
    name = module("shapes_found", SHAPES)
    path = list(sys.path)
    source = registry.find(f"{name}:build")
    assert source.files == (tmp_path / "shapes_found.py",)
    assert name not in sys.modules
    data = source.read()
    assert (data.name, len(data.train), len(data.test)) == ("shapes", 3, 2)
    assert sys.path == path


def test_a_module_in_a_package_is_found(module: Callable[[str, str], str], tmp_path: Path) -> None:
    module("unused_beside_package", "")
    (tmp_path / "shapes_package").mkdir()
    (tmp_path / "shapes_package" / "__init__.py").write_text("")
    (tmp_path / "shapes_package" / "inner.py").write_text(SHAPES)
    assert len(registry.find("shapes_package.inner:build").read().train) == 3


@pytest.mark.parametrize(
    ("attribute", "why"),
    [
        ("pair", r"returned a tuple: return a harness\.data\.dataset\.DataSet"),
        ("broken", r"broken\(\) failed \(RuntimeError: no disk\)"),
        ("wrong", r"labels must be int64 in \[0, 0\)"),
        ("number", "number is a int, no callable"),
        ("biuld", "has no biuld; did you mean 'build'"),
    ],
)
def test_a_wrong_result_is_an_input_error(module: Callable[[str, str], str], attribute: str, why: str) -> None:
    name = module(f"shapes_{attribute}", SHAPES)
    with pytest.raises(InputError, match=why):
        registry.find(f"{name}:{attribute}").read()


def test_a_module_that_cannot_be_imported_is_an_input_error(module: Callable[[str, str], str]) -> None:
    name = module("shapes_unimportable", "import no_such_package_anywhere")
    with pytest.raises(InputError, match=r"ModuleNotFoundError: No module named 'no_such_package_anywhere'"):
        registry.find(f"{name}:build").read()


@pytest.mark.parametrize("name", ["no_such_module_a:build", "no_such_package_b.inner:build"])
def test_a_missing_module_is_an_input_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"no module {name.partition(':')[0]} in"):
        registry.find(name)


@pytest.mark.parametrize("name", [":", "a:", ":b", "a b:c", "a:b:c", "../a:b", "sys:path"])
def test_a_malformed_name_is_an_input_error(name: str) -> None:
    with pytest.raises(InputError, match=r"is not of the form|has no source file"):
        registry.find(name)
