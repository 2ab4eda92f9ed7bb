from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measurement import window
from harness.measurement.window import timed_window, warm_up

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


@settings(max_examples=10)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.floats(0.01, 3.0))
def test_a_window_keeps_every_querys_time_and_ends_with_the_first_query_past_its_length(
    durations_ms: list[int], window_s: float
) -> None:
    bench = Bench(lambda n: durations_ms[n % len(durations_ms)])
    times = timed_window(bench.run, window_s, lambda fraction: None, clock=bench.clock)
    assert times.tolist() == [durations_ms[n % len(durations_ms)] * MS for n in range(bench.queries)]
    assert times.sum() >= int(window_s * 1e9) > times[:-1].sum()


def test_a_window_outgrows_its_first_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK", 8)
    bench = Bench(lambda n: n + 1)
    times = timed_window(bench.run, 0.21, lambda fraction: None, clock=bench.clock)
    np.testing.assert_array_equal(times, (np.arange(20) + 1) * MS)


def test_a_window_as_long_as_its_buffer_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "CHUNK", 4)
    bench = Bench(lambda n: 10)
    assert len(timed_window(bench.run, 0.04, lambda fraction: None, clock=bench.clock)) == 4


def test_progress_is_rare_and_its_cost_is_in_no_time() -> None:
    bench = Bench(lambda n: 100)
    reports: list[float] = []

    def slow_report(fraction: float) -> None:
        reports.append(fraction)
        bench.now += 50 * MS

    times = timed_window(bench.run, 3.0, slow_report, clock=bench.clock)
    assert set(times.tolist()) == {100 * MS}
    assert reports == sorted(reports) and reports[-1] == 1.0
    assert 3 <= len(reports) <= 7


def test_the_garbage_collector_rests_inside_the_window_only() -> None:
    seen: list[bool] = []
    bench = Bench(lambda n: 100)

    def run() -> None:
        seen.append(gc.isenabled())
        bench.run()

    timed_window(run, 0.3, lambda fraction: None, clock=bench.clock)
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
