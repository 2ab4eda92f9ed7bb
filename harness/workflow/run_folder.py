"""The run folder: one process at a time, and a log with a line a stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from contracts.errors import InputError

LOG = "log.txt"
_LOCK = ".lock"
PATIENCE_S = 1.0
"""How long a held folder is waited for: a forked process holds what its parent let go until it is another program."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder, creating it, so that no second process writes into it.

    Raises:
        InputError: another process holds it, or it cannot be written.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the run folder {folder} cannot be written ({error.strerror}): choose one with --workspace"
        ) from error
    with lock:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise InputError(
                        f"another harness is at work in {folder}: wait for it or choose another --workspace"
                    ) from error
                time.sleep(PATIENCE_S / 20)
        yield


def log(folder: Path, line: str) -> None:
    """Append one line with the time to the run folder's log."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with (folder / LOG).open("a", encoding="utf-8") as stream:
        stream.write(f"{now} {line}\n")
