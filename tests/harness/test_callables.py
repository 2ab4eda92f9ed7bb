from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError, MissingDependencyError
from harness.callables import find_callable

pytestmark = pytest.mark.core

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a module into the current folder; what a test imports it also forgets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def one(name: str, source: str) -> None:
        assert name not in before
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    return one


def called(name: str, **arguments: Any) -> Any:
    return find_callable(name, "model.factory").call(**arguments)


def test_only_the_arguments_that_it_accepts_are_passed(write: Write) -> None:
    write("callable_some", "def make(classes, width=3):\n    return classes, width")
    assert called("callable_some:make", input_shape=(1, 8, 8), classes=10, num_classes=10) == (10, 3)


def test_finding_imports_nothing_and_names_the_source(write: Write, tmp_path: Path) -> None:
    write("callable_lazy", "raise RuntimeError('imported')")
    found = find_callable("callable_lazy:make", "model.factory")
    assert found.file == tmp_path / "callable_lazy.py"
    assert "callable_lazy" not in sys.modules
    with pytest.raises(InputError, match=r"importing callable_lazy failed \(RuntimeError: imported\)"):
        found.call()


def test_the_path_is_as_before_also_after_failures(write: Write) -> None:
    write("callable_path", "def make():\n    raise OSError('no weights')")
    before = list(sys.path)
    with pytest.raises(InputError, match=r"make\(\) failed \(OSError: no weights\)"):
        called("callable_path:make")
    with pytest.raises(InputError, match="no module callable_nowhere in"):
        called("callable_nowhere:make")
    assert sys.path == before


def test_errors_that_already_are_sentences_pass_as_they_are(write: Write) -> None:
    write(
        "callable_missing",
        "from contracts.errors import MissingDependencyError\n"
        "def make():\n    raise MissingDependencyError('install timm')",
    )
    with pytest.raises(MissingDependencyError, match=r"^install timm$"):
        called("callable_missing:make")


def test_a_module_may_import_its_neighbours(write: Write) -> None:
    write("callable_neighbour", "width = 7")
    write("callable_reader", "def make():\n    from callable_neighbour import width\n    return width")
    assert called("callable_reader:make") == 7


def test_a_package_that_fails_is_named(write: Write) -> None:
    write("callable_package.__init__", "import no_such_package_at_all")
    write("callable_package.inner", "")
    with pytest.raises(InputError, match=r"model\.factory .*callable_package"):
        find_callable("callable_package.inner:make", "model.factory")


@pytest.mark.parametrize("name", ["make", "a.b", "a:b.c", "a:", ":b", "a-b:c", "a..b:c", "a:b:c", ""])
def test_other_forms_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"is not of the form package\.module:callable"):
        find_callable(name, "model.factory")


def test_a_module_without_source_is_refused() -> None:
    with pytest.raises(InputError, match="sys has no source file"):
        find_callable("sys:exit", "model.factory")


@pytest.mark.parametrize(
    ("attribute", "why"), [("mkae", "has no mkae; did you mean 'make'"), ("width", "width is a int, no callable")]
)
def test_what_is_no_callable_is_refused(write: Write, attribute: str, why: str) -> None:
    module = f"callable_wrong_{attribute}"
    write(module, "width = 3\ndef make():\n    return 1")
    with pytest.raises(InputError, match=why):
        called(f"{module}:{attribute}")
