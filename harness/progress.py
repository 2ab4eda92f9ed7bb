"""Progress of long work: a bar with the time left on a terminal, silence elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[[float], None]

APPEARS_AFTER_S = 2.0
"""Work shorter than this shows no bar."""


class Progress(Protocol):
    """Where long work reports how far it is."""

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Advance]:
        """Open a bar of `total` units; the yielded function adds units to it."""
        ...


def to_fraction(advance: Advance, total: float) -> Advance:
    """Return a function that moves a bar of `total` units to a fraction of it, in [0, 1]."""
    shown = 0.0

    def report(fraction: float) -> None:
        nonlocal shown
        advance(fraction * total - shown)
        shown = fraction * total

    return report


class Silent:
    """Reports nothing: for libraries, tests and output that is not a terminal."""

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Advance]:
        """Yield a function that does nothing."""
        del description, total
        yield lambda _: None


class TerminalBars:
    """Draws bars with the time left on a console, each only once its work has lasted `APPEARS_AFTER_S`."""

    _REFRESHES_PER_S = 4  # more would cost a core that may be measured at the time

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Advance]:
        """Yield a function that moves the bar on; the bar is removed when the work ends."""
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        drawing = RichProgress(
            *columns, console=self._console, transient=True, refresh_per_second=self._REFRESHES_PER_S
        )
        task = drawing.add_task(description, total=total)
        # A timer, because work that reports seldom must show too that it is alive.
        appearance = threading.Timer(APPEARS_AFTER_S, drawing.start)
        appearance.daemon = True
        appearance.start()
        try:
            yield lambda amount: drawing.advance(task, amount)
        finally:
            appearance.cancel()
            appearance.join()
            drawing.stop()
