"""Sets that are joined step by step."""

from __future__ import annotations

from collections.abc import Sequence


class Sets:
    """The numbers below `count`, each in a set of its own at first."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def join(self, members: Sequence[int]) -> None:
        """Make one set of the sets that these are in."""
        for member in members[1:]:
            first, other = self._top(members[0]), self._top(member)
            self._above[max(first, other)] = min(first, other)

    def numbers(self) -> list[int]:
        """Return which set each number is in; sets are counted from 0, in the order of their smallest numbers."""
        known: dict[int, int] = {}
        return [known.setdefault(self._top(each), len(known)) for each in range(len(self._above))]

    def _top(self, each: int) -> int:
        while self._above[each] != each:
            self._above[each] = self._above[self._above[each]]
            each = self._above[each]
        return each
