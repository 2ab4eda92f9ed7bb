"""How a child process ended, in a clause: by itself, by a signal, or by the kernel that had no memory left."""

from __future__ import annotations

import signal
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def kernel_kills(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return how many processes the kernel has killed for want of memory, on this machine and in this control group.

    Args:
        proc: the kernel's files of processes.
        cgroups: control groups, version 2.

    Returns:
        a number that only grows, or None where the kernel does not count.
    """
    counters = [proc / "vmstat"]
    group = _lines(proc / "self/cgroup")
    if len(group) == 1 and group[0].startswith("0::/"):
        counters.append(cgroups / group[0].removeprefix("0::/") / "memory.events")
    found = [line.split() for path in counters for line in _lines(path) if line.startswith("oom_kill ")]
    return sum(int(words[1]) for words in found) if found else None


def how_it_ended(code: int, log: Path, kills_before: int | None) -> str:
    """Return a clause that follows the child's name.

    Args:
        code: its exit code; negative where a signal ended it.
        log: its standard error.
        kills_before: `kernel_kills` from before it was started.
    """
    return _ending(code, kills_before) + _last_words(log)


def _ending(code: int, kills_before: int | None) -> str:
    if code >= 0:
        return f"ended with exit code {code} and no answer"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name != "SIGKILL":
        return f"crashed with {name}"
    kills = kernel_kills()
    if kills is None or kills_before is None:
        return "was killed with SIGKILL (often the kernel, out of memory)"
    if kills > kills_before:
        return "was killed by the kernel, which was out of memory: free some, or take a smaller batch"
    return "was killed with SIGKILL by another program (the kernel was not out of memory)"


def _last_words(log: Path) -> str:
    """Return the last line of the log as a clause, or nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f", its last words: {lines[-1].strip()[:200]}" if lines else ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
