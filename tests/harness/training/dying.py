"""Work that is killed where a test wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.progress import Advance


class KilledError(Exception):
    """What stands for a kill."""


class Dying:
    """Progress that ends the run at a unit of work."""

    def __init__(self, unit: int, die: Callable[[], None]) -> None:
        self._left = unit
        self._die = die

    @contextmanager
    def bar(self, description: str, total: float) -> Iterator[Advance]:
        yield self._advance

    def _advance(self, amount: float) -> None:
        self._left -= int(amount)
        if self._left < 0:
            self._die()


def killed() -> None:
    raise KilledError
