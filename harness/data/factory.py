"""A user's own data set: a callable named `package.module:callable` that returns a DataSet."""

from __future__ import annotations

from contracts.errors import InputError
from harness.callables import UserCallable, find_callable
from harness.data.dataset import DataSet, Location, Source


def find(name: str, location: Location) -> Source:
    """Find the module's source file; it is imported, and the callable called, when the data set is read.

    Files that the callable reads are not known here: only a changed module changes the fingerprint.

    Raises:
        InputError: the name is malformed or the module is not found.
    """
    location.refuse(name, "path", "size")
    found = find_callable(name, "data.name")
    return Source(name, (found.file,), lambda: _read(found))


def _read(found: UserCallable) -> DataSet:
    made = found.call()
    if not isinstance(made, DataSet):
        raise InputError(
            f"data.name {found.name!r} returned a {type(made).__name__}: return a harness.data.dataset.DataSet"
        )
    return made
