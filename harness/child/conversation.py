"""A child process that answers requests, one after the other, watched until it answers, crashes, hangs or is let go."""

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
from types import TracebackType
from typing import Any

from contracts.errors import HarnessError, InputError, MissingDependencyError
from harness.child.ending import how_it_ended, kernel_kills
from harness.waiting import as_deployed

FINAL_EVENTS = {"result", "failed"}
EXIT_GRACE_S = 5.0
LONGEST_LINE = 1 << 26

_ERRORS: Mapping[int, type[HarnessError]] = {error.exit_code: error for error in (InputError, MissingDependencyError)}

OnProgress = Callable[[float], None]


def unheard(fraction: float) -> None:
    """Take a report of progress and do nothing."""
    del fraction


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


class Conversation:
    """A context manager around one child; leaving it kills the child and all that it started, whatever happened.

    The first request without an answer ends the conversation: what is asked after that fails for the same reason.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """Start a child in a session of its own.

        Args:
            command: the program and its arguments.
            log: file that receives the child's standard error.
        """
        self._log = log
        self._failed: Failed | None = None
        self._told_parent = False
        self._kills = kernel_kills()
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env=_environment(),
            )
        assert self._child.stdout is not None
        self._lines = _Lines(self._child.stdout.fileno())

    @property
    def pid(self) -> int:
        """The child's process number."""
        return self._child.pid

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    def ask(
        self, request: Mapping[str, Any], *, deadline_s: float, on_progress: OnProgress = unheard
    ) -> Answered | Failed:
        """Hand the child one JSON line and wait for its answer, asleep.

        Args:
            request: JSON object.
            deadline_s: seconds after which the child counts as hanging.
            on_progress: receives the fraction done in [0, 1].
        """
        if self._failed is not None:
            return self._failed
        try:
            self._hand_over(request)
            answer = self._await_answer(time.monotonic() + deadline_s, on_progress)
        except TimeoutError:
            answer = Failed(f"gave no answer within {deadline_s:.0f} s and was stopped")
        except _UnusableError as error:
            answer = Failed(str(error))
        if isinstance(answer, Failed):
            self._failed = answer
            self._kill()
        return answer

    def hold(self) -> None:
        """Stop the child and all that it started, until it goes on: threads that wait may spin."""
        self._signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # the signal alone takes effect only when the child is next about to run
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def go_on(self) -> None:
        """Let the child go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, which)

    def _hand_over(self, request: Mapping[str, Any]) -> None:
        assert self._child.stdin is not None
        # The first line also says whose death ends the child.
        told = dict(request) if self._told_parent else {**request, "parent": os.getpid()}
        self._told_parent = True
        with contextlib.suppress(BrokenPipeError):  # it is gone already; its exit code says why
            self._child.stdin.write(json.dumps(told, allow_nan=False).encode() + b"\n")
            self._child.stdin.flush()

    def _await_answer(self, deadline: float, on_progress: OnProgress) -> Answered | Failed:
        for event in self._lines.until(deadline):
            if event["event"] == "progress" and isinstance(event.get("fraction"), float | int):
                on_progress(float(event["fraction"]))
            elif event["event"] == "result":
                return Answered(event.get("result"))
            elif event["event"] == "failed":
                code = event.get("exit_code")
                reason = f"failed: {event.get('reason')}"
                return Failed(reason, code) if isinstance(code, int) else Failed(reason)
        try:
            code = self._child.wait(timeout=max(min(deadline - time.monotonic(), EXIT_GRACE_S), 0.0))
        except subprocess.TimeoutExpired:
            return Failed("closed its output without an answer and was stopped")
        return Failed(how_it_ended(code, self._log, self._kills))

    def _kill(self) -> None:
        """Kill the child's whole session, so that nothing it started outlives it."""
        self._signal(signal.SIGKILL)
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def ask_child(
    command: Sequence[str], request: Mapping[str, Any], *, deadline_s: float, log: Path, on_progress: OnProgress
) -> Answered | Failed:
    """Ask a child of its own one thing; see `Conversation`."""
    with Conversation(command, log) as child:
        return child.ask(request, deadline_s=deadline_s, on_progress=on_progress)


class _Lines:
    """The child's events, read as they come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = bytearray()  # of a line that has not ended: bytes would be copied with every piece
        self._whole: list[bytes] = []

    def until(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Yield events until the child closes its output.

        Raises:
            TimeoutError: the deadline passed.
            _UnusableError: a line is no event.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while True:
                while self._whole:
                    yield _parse(self._whole.pop(0))
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not selector.select(remaining):
                    raise TimeoutError
                piece = os.read(self._descriptor, 1 << 16)
                if not piece:
                    return
                *ends, rest = piece.split(b"\n")
                for end in ends:
                    self._whole.append(bytes(self._pending + end))
                    self._pending.clear()
                self._pending += rest
                if len(self._pending) > LONGEST_LINE:
                    raise _UnusableError("answered with an endless line")


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or event.get("event") not in {"progress", *FINAL_EVENTS}:
        raise _UnusableError(f"answered with something that is no answer: {line[:80].decode(errors='replace')!r}")
    return event


def _environment() -> dict[str, str]:
    """Keep a user's folder off the child's import path, unless it is on ours: a file there could shadow a package."""
    on_path = "" in sys.path or str(Path.cwd()) in sys.path
    kept = as_deployed(os.environ)
    return kept if on_path else {**kept, "PYTHONSAFEPATH": "1"}
