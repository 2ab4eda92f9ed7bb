"""Reading the small text files of /proc, /sys and /etc under any root; what is not there is None."""

from __future__ import annotations

from pathlib import Path

SYSTEM_ROOT = Path("/")


def is_recorded(root: Path) -> bool:
    """Say whether `root` is a recorded tree and not this machine."""
    return root.resolve() != SYSTEM_ROOT


def read_line(path: Path) -> str | None:
    """Return the file's text without its NUL and white space at the ends, or None where it cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return None
    return text.strip("\0 \t\r\n") or None


def read_number(path: Path) -> float | None:
    """Return the number that a file holds alone, or None."""
    try:
        return float(read_line(path) or "")
    except ValueError:
        return None


def read_fields(path: Path, separator: str = ":") -> list[tuple[str, str]]:
    """Return the `name : value` lines of a file in their order; an absent file has none."""
    lines = (read_line(path) or "").splitlines()
    pairs = (line.partition(separator) for line in lines if separator in line)
    return [(name.strip(), value.strip()) for name, _, value in pairs]
