"""Watching the device while an engine is measured: before, during, after, off the measured cores where others are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isnan
from types import TracebackType

from harness.devices.cpu import cpu_times_s, process_cpu_s, usable_cores
from harness.devices.machine import Machine
from harness.devices.power.meter import Meter, Metered
from harness.devices.state import State, read_moment, read_state

INTERVAL_S = 0.5
"""How often the device is looked at."""

FOREIGN = "foreign_busy_fraction"
"""The share of the measured cores that other programs use."""

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Summary:
    """What one quantity did during a window."""

    min: float
    mean: float
    max: float


@dataclass(frozen=True)
class Watched:
    """The device around and during one window.

    Attributes:
        before: see `read_state`.
        after: see `read_state`.
        series: by name every sample, in the order of `at_s`; NaN where a sample had no answer.
        at_s: seconds since the watch began, of every sample.
        watts: mean power by rail, from the window's opening to its end but for milliseconds; None without a meter.
        watcher_cpu_s: CPU time that watching took.
        beside: whether the watcher ran on cores that were not measured.
    """

    before: State
    after: State
    series: Mapping[str, Sequence[float]]
    at_s: Sequence[float]
    watts: Mapping[str, float] | None
    watcher_cpu_s: float
    beside: bool

    @property
    def during(self) -> Mapping[str, Summary]:
        """What every sampled quantity did."""
        known = {name: self.known(name) for name in self.series}
        return {name: Summary(min(k), sum(k) / len(k), max(k)) for name, k in known.items() if k}

    def known(self, name: str) -> list[float]:
        """Return a quantity's samples, those without an answer left out."""
        return [value for value in self.series.get(name, ()) if not isnan(value)]


class Company:
    """How much of the measured cores other programs use, from one question to the next."""

    def __init__(self, machine: Machine, cores: Sequence[int], pid: int) -> None:
        """Begin to count.

        Args:
            machine: that is read.
            cores: the measured ones.
            pid: the measured process, which is no other.
        """
        self._machine, self._cores, self._pid = machine, tuple(cores), pid
        self._last = self._counters()

    def share(self) -> float | None:
        """Return the share in [0, 1] since the last question, or None where nothing counts."""
        before, after = self._last, self._counters()
        self._last = after
        if before is None or after is None or after[0] <= before[0]:
            return None
        total, busy, own = (end - start for start, end in zip(before, after, strict=True))
        return min(max((busy - own) / total, 0.0), 1.0)

    def _counters(self) -> tuple[float, float, float] | None:
        """Return (total, busy, of the measured process) seconds of the cores."""
        times = cpu_times_s(self._machine.root, self._cores)
        own = 0.0 if self._machine.is_simulated else process_cpu_s(self._pid)
        return None if times is None or own is None else (times[0], times[1], own)


class Watch:
    """A context manager: the state before, samples by a thread of this process, the state after.

    Attributes:
        watched: what was seen, once it is left.
    """

    watched: Watched

    def __init__(
        self,
        machine: Machine,
        cores: Sequence[int],
        pid: int,
        meter: Meter | None = None,
        tick: Tick = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            machine: that is read.
            cores: the measured ones.
            pid: the measured process, whose CPU time is its own.
            meter: of energy, sampled as often as the device.
            tick: called with every sample, with the seconds since the watch began.
        """
        self._machine = machine
        self._cores = tuple(cores) or usable_cores()
        self._pid = pid
        self._meter = meter
        self._tick = tick
        self._stop, self._metering = threading.Event(), threading.Lock()
        self._samples: list[tuple[float, dict[str, float]]] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._cpu_s = 0.0
        self._beside = False

    def __enter__(self) -> Watch:
        self._before = read_state(self._machine)
        self._opened = self._metered()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closed = self._metered()
        self._stop.set()
        self._thread.join()
        names = dict.fromkeys(name for _, sample in self._samples for name in sample)
        self.watched = Watched(
            before=self._before,
            after=read_state(self._machine),
            series={name: [sample.get(name, float("nan")) for _, sample in self._samples] for name in names},
            at_s=[at_s for at_s, _ in self._samples],
            watts=closed.watts_since(self._opened) if closed is not None and self._opened is not None else None,
            watcher_cpu_s=self._cpu_s,
            beside=self._beside,
        )

    def _sample(self) -> None:
        self._beside = _step_aside(self._cores)
        began, company = time.monotonic(), Company(self._machine, self._cores, self._pid)
        while True:
            stopped = self._stop.wait(INTERVAL_S)
            # The last one comes when the engine rests already, and its clocks may too.
            sample = {} if stopped and self._samples else read_moment(self._machine, self._cores)
            foreign = company.share()
            if foreign is not None:
                sample[FOREIGN] = foreign
            self._metered()
            self._samples.append((time.monotonic() - began, sample))
            if stopped:
                break
            self._tick(time.monotonic() - began)
        self._cpu_s = time.thread_time()

    def _metered(self) -> Metered | None:
        with self._metering:  # both threads sample
            return None if self._meter is None else self._meter.sample()


def _step_aside(measured: Sequence[int]) -> bool:
    """Move this thread to cores that are not measured, if there are any."""
    others = set(usable_cores()) - set(measured)
    if not others or not hasattr(os, "sched_setaffinity"):
        return False
    with suppress(OSError):
        os.sched_setaffinity(threading.get_native_id(), others)
        return True
    return False
