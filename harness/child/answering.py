"""The side of a child process: JSON requests on its standard input, events in JSON lines on its standard output.

To every request any number of `{"event": "progress", "fraction": …}`, then one `{"event": "result", "result": …}` or
one `{"event": "failed", "reason": …, "exit_code": …}`, whose exit code is a user's error's or null. After a failure the
child ends, as it does when its input does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from contracts.errors import HarnessError

Report = Callable[[float], None]
Work = Callable[[Mapping[str, Any], Report], Any]
"""From a request, and a function that is told the fraction done in [0, 1], to a result in JSON values."""


def answer(work: Work) -> NoReturn:
    """Answer the requests on standard input and end the process; it dies with its parent."""
    answers = _take_standard_output()
    _die_with_parent()
    _die_before_parent()
    parent: int | None = None
    while True:
        line = sys.stdin.readline()
        if not line and parent is not None:
            break
        try:
            request = json.loads(line)
            if parent is None:
                parent = request.pop("parent")
                if os.getppid() != parent:  # it died before we asked to be told
                    os._exit(1)
            event = {"event": "result", "result": work(request, _progress_to(answers))}
        except HarnessError as error:
            event = {"event": "failed", "reason": str(error), "exit_code": error.exit_code}
        except Exception as error:  # a runtime's own: the harness must learn of it in a sentence, the log has the rest
            import traceback

            traceback.print_exc()
            reason = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
            event = {"event": "failed", "reason": reason, "exit_code": None}
        print(json.dumps(event), file=answers, flush=True)
        if event["event"] == "failed":
            break
    sys.stderr.flush()
    # Runtimes' own threads can crash or hang an orderly shutdown, and the answer is out: leave at once.
    os._exit(0)


def _progress_to(answers: TextIO) -> Report:
    def report(fraction: float) -> None:
        event: dict[str, Any] = {"event": "progress", "fraction": round(min(fraction, 1.0), 4)}
        print(json.dumps(event), file=answers, flush=True)

    return report


def _take_standard_output() -> TextIO:
    """Keep standard output for answers; what a runtime prints from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the harness dies, however that dies. Linux only."""
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def _die_before_parent() -> None:
    """Where memory runs out, let the kernel take this process and not the harness, which has to tell of it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
