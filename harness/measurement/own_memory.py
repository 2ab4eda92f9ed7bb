"""The memory of this process, as the kernel counts it."""

from __future__ import annotations

import sys
from pathlib import Path

from contracts.errors import InputError

STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Return the bytes of this process that are in memory now."""
    found = _status_bytes("VmRSS")
    if found is not None:
        return found
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """Return the most bytes that this process ever had in memory.

    Where /proc does not tell, it is getrusage's figure, which on Linux may be the parent's at the moment of the fork.
    """
    found = _status_bytes("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError as error:  # Windows
        raise InputError("this system does not tell the peak memory of a process: measure on Linux") from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(name: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
