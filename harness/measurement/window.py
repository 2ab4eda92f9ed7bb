"""The timed loop: warm up until the times settle, then keep every query's time for the length of a window.

Single stream: the next query starts when the last one is done. No outlier is clipped: the tail is the result.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

PROFILES: dict[str, float] = {"quick": 5.0, "ci": 60.0, "mlperf": 600.0}
"""Seconds of a window by profile; 600 s is what MLPerf's SingleStream asks for."""

ROUND_S = 0.25
SETTLED_ROUNDS = 3
SETTLED_SPREAD = 0.05
WARM_UP_LIMIT_S = 10.0
CHUNK = 1 << 16
"""Times held before they are handed on, so that a process's memory does not grow with its queries."""

Run = Callable[[], object]
TimesNs = npt.NDArray[np.int64]
Keep = Callable[[TimesNs], None]
Clock = Callable[[], int]


@dataclass(frozen=True)
class WarmUp:
    """How the engine warmed up.

    Attributes:
        queries: how many queries it took.
        settled: whether the times settled before the limit.
    """

    queries: int
    settled: bool


def warm_up(run: Run, *, clock: Clock = time.monotonic_ns) -> WarmUp:
    """Run queries until their times settle.

    Queries go in rounds of at least `ROUND_S` (at least one query). The times have settled when the medians of the last
    `SETTLED_ROUNDS` rounds lie within `SETTLED_SPREAD` of the smallest of them. It gives up after `WARM_UP_LIMIT_S`,
    but never before `SETTLED_ROUNDS` rounds, so that one very slow query is not the whole warm-up.

    Args:
        run: one synchronous query.
        clock: nanoseconds, monotonic.
    """
    started = clock()
    medians: list[int] = []
    queries = 0
    while True:
        times = _round(run, clock)
        queries += len(times)
        medians.append(int(median(times)))
        last = medians[-SETTLED_ROUNDS:]
        if len(last) == SETTLED_ROUNDS:
            if max(last) <= min(last) * (1 + SETTLED_SPREAD):
                return WarmUp(queries, settled=True)
            if clock() - started >= WARM_UP_LIMIT_S * 1e9:
                return WarmUp(queries, settled=False)


@dataclass(frozen=True)
class Span:
    """When a window opened and closed, by the kernel's monotonic clock, which all processes share.

    Attributes:
        queries: how many were run.
        opened_ns: before the first query.
        closed_ns: after the last one.
    """

    queries: int
    opened_ns: int
    closed_ns: int

    @property
    def seconds(self) -> float:
        """How long it was, what passed between queries included."""
        return (self.closed_ns - self.opened_ns) / 1e9


def timed_window(run: Run, seconds: float, keep: Keep, *, queries: int = 1, clock: Clock = time.monotonic_ns) -> Span:
    """Run queries for at least so long and at least so many, and keep every one's time.

    The garbage collector rests meanwhile. Times are handed on between queries, outside the timed spans.

    Args:
        run: one synchronous query: the timed span.
        seconds: the least length.
        keep: receives int64 nanoseconds, shape (n,), in the order of the queries; the array is used again afterwards.
        queries: the least number, at least 1.
        clock: nanoseconds, monotonic.
    """
    length = int(seconds * 1e9)
    chunk, filled, done = np.zeros(CHUNK, np.int64), 0, 0
    with _collector_at_rest():
        opened = clock()
        while True:
            start = clock()
            run()
            end = clock()
            chunk[filled] = end - start
            filled += 1
            if end - opened >= length and done + filled >= queries:
                break
            if filled == CHUNK:
                keep(chunk)
                done, filled = done + filled, 0
    keep(chunk[:filled])
    return Span(done + filled, opened, end)


def _round(run: Run, clock: Clock) -> list[int]:
    times: list[int] = []
    opened = clock()
    while not times or clock() - opened < ROUND_S * 1e9:
        start = clock()
        run()
        times.append(clock() - start)
    return times


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Collect once, then keep the garbage collector out of the timed spans."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
