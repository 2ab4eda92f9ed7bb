"""A child process that is asked once, and watched until it answers, crashes, hangs or is interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import HarnessError, InputError, MissingDependencyError
from harness.waiting import as_deployed

FINAL_EVENTS = {"result", "failed"}
EXIT_GRACE_S = 5.0
LONGEST_LINE = 1 << 26

_ERRORS: Mapping[int, type[HarnessError]] = {error.exit_code: error for error in (InputError, MissingDependencyError)}

OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Answered:
    """The child's result."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """Why there is no result.

    Attributes:
        reason: a clause that follows the name of what was asked.
        exit_code: of an error that a user can mend; None for any other.
    """

    reason: str
    exit_code: int | None = None

    def error(self, reason: str) -> HarnessError | None:
        """Return the user's error with that exit code, worded by the caller; None where it was no user's."""
        kind = _ERRORS.get(self.exit_code or 0)
        return None if kind is None else kind(reason)


class _UnusableError(Exception):
    """The child's output is no answer; the text says why."""


def ask_child(
    command: Sequence[str], request: Mapping[str, Any], *, deadline_s: float, log: Path, on_progress: OnProgress
) -> Answered | Failed:
    """Start a child in a session of its own, hand it one JSON line and wait for its answer, asleep.

    Whatever happens, KeyboardInterrupt included, the child and all it started are killed before this returns.

    Args:
        command: the program and its arguments.
        request: JSON object for the child's standard input.
        deadline_s: seconds after which the child counts as hanging.
        log: file that receives the child's standard error.
        on_progress: receives the fraction done in [0, 1].
    """
    with log.open("wb") as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=_environment(),
        )
    try:
        _hand_over(child, request)
        return _await_answer(child, time.monotonic() + deadline_s, log, on_progress)
    except TimeoutError:
        return Failed(f"gave no answer within {deadline_s:.0f} s and was stopped")
    except _UnusableError as error:
        return Failed(str(error))
    finally:
        _kill(child)


def _await_answer(
    child: subprocess.Popen[bytes], deadline: float, log: Path, on_progress: OnProgress
) -> Answered | Failed:
    for event in _events(child, deadline):
        if event["event"] == "progress" and isinstance(event.get("fraction"), float | int):
            on_progress(float(event["fraction"]))
        elif event["event"] == "result":
            return Answered(event.get("result"))
        elif event["event"] == "failed":
            code = event.get("exit_code")
            reason = f"failed: {event.get('reason')}"
            return Failed(reason, code) if isinstance(code, int) else Failed(reason)
    try:
        code = child.wait(timeout=max(min(deadline - time.monotonic(), EXIT_GRACE_S), 0.0))
    except subprocess.TimeoutExpired:
        return Failed("closed its output without an answer and was stopped")
    return Failed(_ending(code) + _last_words(log))


def _events(child: subprocess.Popen[bytes], deadline: float) -> Iterator[dict[str, Any]]:
    """Yield the child's events until it closes its output.

    Raises:
        TimeoutError: the deadline passed.
        _UnusableError: a line is no event.
    """
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    pending = bytearray()  # of a line that has not ended: bytes would be copied with every piece
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not selector.select(remaining):
                raise TimeoutError
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                return
            *ends, rest = piece.split(b"\n")
            for end in ends:
                yield _parse(bytes(pending + end))
                pending.clear()
            pending += rest
            if len(pending) > LONGEST_LINE:
                raise _UnusableError("answered with an endless line")


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or event.get("event") not in {"progress", *FINAL_EVENTS}:
        raise _UnusableError(f"answered with something that is no answer: {line[:80].decode(errors='replace')!r}")
    return event


def _hand_over(child: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
    assert child.stdin is not None
    try:
        told = {**request, "parent": os.getpid()}  # whose death ends the child
        child.stdin.write(json.dumps(told, allow_nan=False).encode() + b"\n")
        child.stdin.close()
    except BrokenPipeError:
        pass  # it is gone already; its exit code says why


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child's whole session, so that nothing it started outlives it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and no answer"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (often the kernel, out of memory)" if name == "SIGKILL" else ""
    return f"crashed with {name}{hint}"


def _last_words(log: Path) -> str:
    """Return the last line of the log as a clause, or nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f", its last words: {lines[-1].strip()[:200]}" if lines else ""


def _environment() -> dict[str, str]:
    """Keep a user's folder off the child's import path, unless it is on ours: a file there could shadow a package."""
    on_path = "" in sys.path or str(Path.cwd()) in sys.path
    kept = as_deployed(os.environ)
    return kept if on_path else {**kept, "PYTHONSAFEPATH": "1"}
