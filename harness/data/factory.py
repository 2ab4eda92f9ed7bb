"""A user's own data set: a callable named `package.module:callable` that returns a DataSet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module, invalidate_caches
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from contracts.errors import HarnessError, InputError, nearest
from harness.data.dataset import DataSet, Location, Source

_FORM = "package.module:callable"


def find(name: str, location: Location) -> Source:
    """Find the module's source file, in the current folder first and then among what is installed.

    The module itself is imported, and the callable called without arguments, when the data set is read. Files that
    the callable reads are not known here: only a changed module changes the fingerprint.

    Raises:
        InputError: the name is malformed or the module is not found.
    """
    location.refuse(name, "path", "size")
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"the data set {name!r} is not of the form {_FORM}: correct data.name")
    with _current_folder_importable():
        spec = _spec(name, module)
    if spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(f"the data set {name!r}: {module} has no source file: name a module written in Python")
    return Source(name, (Path(spec.origin),), lambda: _call(name, module, attribute))


def _spec(name: str, module: str) -> ModuleSpec:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None  # a package on the way to the module is missing
    except Exception as error:
        raise _failed(name, "importing its package", error) from error
    if spec is None:
        raise InputError(
            f"the data set {name!r}: no module {module} in {Path.cwd()} or among what is installed: correct it"
        )
    return spec


def _call(name: str, module: str, attribute: str) -> DataSet:
    with _current_folder_importable():
        try:
            imported = import_module(module)
        except Exception as error:
            raise _failed(name, f"importing {module}", error) from error
        if not hasattr(imported, attribute):
            near = nearest(attribute, vars(imported))
            raise InputError(f"the data set {name!r}: {module} has no {attribute}{near or ': correct data.name'}")
        make = getattr(imported, attribute)
        if not callable(make):
            raise InputError(f"the data set {name!r}: {attribute} is a {type(make).__name__}: name a callable")
        try:
            made = make()
        except HarnessError:
            raise
        except Exception as error:
            raise _failed(name, f"{attribute}()", error) from error
    if not isinstance(made, DataSet):
        raise InputError(
            f"the data set {name!r}: {attribute}() returned a {type(made).__name__}: "
            "return a harness.data.dataset.DataSet"
        )
    return made


def _failed(name: str, what: str, error: Exception) -> InputError:
    return InputError(f"the data set {name!r}: {what} failed ({type(error).__name__}: {error}): mend the module")


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have set sys.path anew
            sys.path.remove(here)
