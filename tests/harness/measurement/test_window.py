from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measurement import window
from harness.measurement.window import Span, TimesNs, timed_window, warm_up

pytestmark = pytest.mark.core

MS = 1_000_000


class Bench:
    """A clock that stands still but for the queries, whose n-th takes what `duration_ms(n)` says."""

    def __init__(self, duration_ms: Callable[[int], float]) -> None:
        self.now = 0
        self.queries = 0
        self.duration_ms = duration_ms

    def clock(self) -> int:
        return self.now

    def run(self) -> None:
        self.now += int(self.duration_ms(self.queries) * MS)
        self.queries += 1


def kept_ms(bench: Bench, seconds: float, queries: int = 1) -> tuple[list[int], Span]:
    """Return every query's time in ms, whole ones, and the window's span."""
    kept: list[int] = []
    keep = lambda times: kept.extend((times // MS).tolist())  # noqa: E731
    return kept, timed_window(bench.run, seconds, keep, queries=queries, clock=bench.clock)


@settings(max_examples=10)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.floats(0.01, 3.0), st.integers(1, 60))
def test_a_window_keeps_every_querys_time_and_ends_once_it_is_long_enough_and_has_enough(
    durations_ms: list[int], window_s: float, queries: int
) -> None:
    bench = Bench(lambda n: durations_ms[n % len(durations_ms)])
    kept, span = kept_ms(bench, window_s, queries)
    assert kept == [durations_ms[n % len(durations_ms)] for n in range(bench.queries)]
    assert span.queries == bench.queries >= queries
    assert span.seconds == pytest.approx(sum(kept) / 1000) and span.seconds >= window_s - 1e-9
    assert sum(kept[:-1]) < window_s * 1000 or span.queries == queries  # and not a query longer


def test_times_are_handed_on_as_their_buffer_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK", 8)
    bench = Bench(lambda n: n + 1)
    kept, span = kept_ms(bench, 0.21)
    assert kept == list(range(1, 21)) and span.queries == 20


def test_a_window_as_long_as_its_buffer_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK", 4)
    assert kept_ms(Bench(lambda n: 10), 0.04)[0] == [10] * 4


def test_what_passes_between_queries_is_in_no_time_and_in_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK", 2)
    bench = Bench(lambda n: 100)

    def slow(times: TimesNs) -> None:
        assert set(times.tolist()) == {100 * MS}
        bench.now += 50 * MS

    span = timed_window(bench.run, 0.45, slow, clock=bench.clock)
    assert span.queries == 4 and span.seconds == pytest.approx(0.45)


def test_the_garbage_collector_rests_inside_the_window_only() -> None:
    seen: list[bool] = []
    bench = Bench(lambda n: 100)

    def run() -> None:
        seen.append(gc.isenabled())
        bench.run()

    timed_window(run, 0.3, lambda times: None, clock=bench.clock)
    assert seen == [False] * 3
    assert gc.isenabled()


def test_warm_up_ends_once_three_rounds_agree() -> None:
    bench = Bench(lambda n: 50 if n < 5 else 25 if n < 15 else 10)  # two rounds of 250 ms, each faster, then steady
    warmth = warm_up(bench.run, clock=bench.clock)
    assert warmth.settled
    assert warmth.queries == 5 + 10 + 3 * 25


def test_warm_up_gives_up_on_an_engine_that_keeps_getting_slower() -> None:
    bench = Bench(lambda n: 10 * 1.02**n)
    warmth = warm_up(bench.run, clock=bench.clock)
    assert not warmth.settled
    assert warmth.queries == bench.queries


def test_a_very_slow_but_steady_engine_settles_after_three_queries() -> None:
    bench = Bench(lambda n: 20_000)
    warmth = warm_up(bench.run, clock=bench.clock)
    assert (warmth.queries, warmth.settled) == (3, True)
