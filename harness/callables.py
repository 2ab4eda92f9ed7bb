"""Users' own code, named `package.module:callable`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contracts.errors import InputError


def load_callable(name: str, setting: str) -> Callable[..., Any]:
    """Import a callable from an installed package or from a module in the current folder.

    Args:
        name: `package.module:callable`.
        setting: the setting that named it, for the sentence.

    Raises:
        InputError: the name is malformed, the module does not import, or it has no such callable.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{setting} {name!r} must be written 'package.module:callable'")
    _see_current_folder()
    try:
        found = getattr(import_module(module_name), attribute, None)
    except Exception as error:  # importing runs the user's own code
        raise InputError(f"{setting} {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise InputError(f"{setting} {name!r}: module {module_name} has no callable {attribute!r}")
    return found  # type: ignore[no-any-return]


def source_file(name: str) -> Path | None:
    """Return the file that defines `package.module:callable`, whose change makes its products out of date."""
    _see_current_folder()
    try:
        spec = find_spec(name.partition(":")[0])
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _see_current_folder() -> None:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
