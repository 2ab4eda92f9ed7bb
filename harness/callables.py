"""Users' own code, named `package.module:callable`: found without importing it, imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contracts.errors import HarnessError, InputError, nearest

_FORM = "package.module:callable"


@dataclass(frozen=True)
class UserCallable:
    """A callable of the user's.

    Attributes:
        name: `package.module:callable`.
        setting: the setting that named it, for the sentences.
        file: the module's source file, whose change makes what came from it out of date.
    """

    name: str
    setting: str
    file: Path

    def call(self, **arguments: Any) -> Any:
        """Import the module and call the callable with those of the arguments that it accepts.

        Raises:
            InputError: the module does not import, has no such callable, or the call fails.
        """
        import inspect

        module, _, attribute = self.name.partition(":")
        with _current_folder_importable():
            try:
                found = getattr(import_module(module), attribute, None)
            except Exception as error:  # importing runs the user's own code
                raise self._failed(f"importing {module}", error) from error
            if found is None:
                near = nearest(attribute, vars(sys.modules[module]))
                raise InputError(f"{self.setting} {self.name!r}: {module} has no {attribute}{near or ': correct it'}")
            if not callable(found):
                raise InputError(f"{self.setting} {self.name!r}: {attribute} is a {type(found).__name__}, no callable")
            try:
                accepted = inspect.signature(found).parameters
                return found(**{key: value for key, value in arguments.items() if key in accepted})
            except HarnessError:
                raise
            except Exception as error:  # whatever the user's own code raises
                raise self._failed(f"{attribute}()", error) from error

    def _failed(self, what: str, error: Exception) -> InputError:
        return InputError(f"{self.setting} {self.name!r}: {what} failed ({type(error).__name__}: {error}): mend it")


def find_callable(name: str, setting: str) -> UserCallable:
    """Find the module of a callable, in the current folder first and then among what is installed.

    Args:
        name: `package.module:callable`.
        setting: the setting that named it, for the sentences.

    Raises:
        InputError: the name is malformed, or there is no such module.
    """
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"{setting} {name!r} is not of the form {_FORM}: correct it")
    with _current_folder_importable():
        try:
            spec = find_spec(module)
        except ModuleNotFoundError:
            spec = None  # a package on the way to the module is missing
        except Exception as error:  # finding a submodule imports its package
            raise InputError(
                f"{setting} {name!r}: importing its package failed ({type(error).__name__}: {error}): mend it"
            ) from error
    if spec is None:
        raise InputError(
            f"{setting} {name!r}: no module {module} in {Path.cwd()} or among what is installed: correct it"
        )
    if spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(f"{setting} {name!r}: {module} has no source file: name a module written in Python")
    return UserCallable(name, setting, Path(spec.origin))


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
