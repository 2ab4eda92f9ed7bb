"""Errors that a user can cause or mend, each with the exit code it ends a command with.

A message is one sentence that says what is wrong, where, and what to do. Anything else that escapes is a bug of
ours and ends with `INTERNAL_ERROR`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

DONE = 0
INTERNAL_ERROR = 70
INTERRUPTED = 130


class HarnessError(Exception):
    """A problem that the user can mend; `exit_code` is what the command ends with."""

    exit_code: ClassVar[int] = INTERNAL_ERROR


class GateFailedError(HarnessError):
    """What was asked of a model does not hold."""

    exit_code: ClassVar[int] = 1


class InputError(HarnessError):
    """Wrong usage or input: a setting, a file, a name."""

    exit_code: ClassVar[int] = 2


class InvalidMeasurementError(HarnessError):
    """A measurement that is not valid, where the user asked for valid ones only."""

    exit_code: ClassVar[int] = 3


class MissingDependencyError(HarnessError):
    """A package, driver or device is missing here; the message names the command that installs it."""

    exit_code: ClassVar[int] = 4


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest known name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Describe a name that is not in a registry, with the nearest known one and the whole list."""
    names = sorted(known)
    return InputError(f"unknown {kind} {name!r}{nearest(name, names) or ';'} known: {', '.join(names)}")
