"""Two engines side by side in one job: both loaded, their windows in turn, so that what drifts meets both alike.

Between two jobs on one machine latencies were seen to differ by 26 %, within one by 0.3 %.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.devices.cpu import usable_cores
from harness.devices.validity import FOREIGN_LIMIT
from harness.devices.watch import Company
from harness.measurement.client import Request
from harness.measurement.percentiles import Times
from harness.measurement.process import MeasuringProcess
from harness.measurement.verdict import Verdict, verdict
from harness.progress import Progress

WINDOW_S = 0.5
"""Length of one window: pairs lie close together in time, and a window still holds queries of a slow engine."""
WAKING_QUERIES = 3
"""Queries after an engine was held, which are not timed."""


@dataclass(frozen=True)
class Alternation:
    """Windows of two engines in turn.

    Attributes:
        batch: images of one query.
        window_s: length of one window.
        ours_ms: float64, shape (pairs,): medians of the first engine's windows, those left out included.
        theirs_ms: the same of the other's.
        counted: bool, shape (pairs,): whether other programs let a pair be believed.
        verdict: of the pairs that count.
    """

    batch: int
    window_s: float
    ours_ms: Times
    theirs_ms: Times
    counted: np.ndarray[tuple[int], np.dtype[np.bool_]]
    verdict: Verdict


def alternate(
    ours: Request,
    theirs: Request,
    batch: int,
    pairs: int,
    scratch: Path,
    progress: Progress,
    window_s: float = WINDOW_S,
) -> Alternation:
    """Measure two engines in turn.

    Pairs go first-other, other-first, and so on, so that whoever runs second in a pair is either as often. While one
    runs the other's process is stopped: its threads may spin. A pair with a busy neighbour is left out.

    Args:
        ours: the first engine.
        theirs: the other.
        batch: images of one query, for both.
        pairs: how many pairs of windows.
        scratch: folder for temporary files; nothing stays in it.
        progress: where progress is shown, in pairs.
        window_s: length of one window.

    Raises:
        PhaseFailedError: a measuring process crashed, hung or refused.
    """
    medians: list[tuple[float, float]] = []
    calm: list[bool] = []
    with ExitStack() as held:
        processes = []
        for request in (ours, theirs):
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=scratch, prefix="in-turn-")))
            process = held.enter_context(MeasuringProcess(request.job(batch), folder, request.deadline_s))
            process.import_runtime()
            process.load()
            process.warm_up()
            process.hold()
            processes.append(process)
        advance = held.enter_context(progress.bar(f"{ours.folder.name} against {theirs.folder.name}", pairs))
        for turns in _turns(pairs):
            found = {turn: _window(processes[turn], ours, window_s) for turn in turns}
            medians.append((found[0][0], found[1][0]))
            calm.append(all(foreign is None or foreign <= FOREIGN_LIMIT for _, foreign in found.values()))
            advance(1)
    ours_ms, theirs_ms = np.array(medians, np.float64).T
    counted = np.array(calm, np.bool_)
    return Alternation(batch, window_s, ours_ms, theirs_ms, counted, verdict(ours_ms[counted], theirs_ms[counted]))


def _turns(pairs: int) -> Iterator[tuple[int, int]]:
    for pair in range(pairs):
        yield (0, 1) if pair % 2 == 0 else (1, 0)


def _window(process: MeasuringProcess, request: Request, window_s: float) -> tuple[float, float | None]:
    """Run one window; return its median in ms, and the share of the cores that other programs used."""
    process.go_on()
    process.window(0.0, WAKING_QUERIES)
    company = Company(request.machine, request.cores or usable_cores(), process.pid)
    window = process.window(window_s)
    foreign = company.share()
    process.hold()
    return float(np.median(window.times_ms)), foreign
