"""The measuring process as the harness sees it: one phase after the other, each with its own deadline."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from contracts.errors import HarnessError, InputError
from harness.child.conversation import Conversation, Failed
from harness.measurement.job import Amount, Job, Phase, Process, whole
from harness.measurement.percentiles import Times
from harness.measurement.window import WARM_UP_LIMIT_S, Span, WarmUp

WORKER = (sys.executable, "-m", "harness.measurement.worker")
LOADING_ALLOWANCE_S = 300.0
"""How long loading may take before the process counts as hanging: on boards some runtimes compile for minutes."""
SLOW_QUERY_S = 60.0
"""How long one query may take."""


class PhaseFailedError(Exception):
    """A phase without a result; the text says which process, which phase and why.

    Attributes:
        failed: why, as the conversation tells it.
    """

    def __init__(self, sentence: str, failed: Failed) -> None:
        super().__init__(sentence)
        self.failed = failed

    def users_error(self) -> HarnessError | None:
        """Return the user's error that it is, None where it is no user's."""
        return self.failed.error(str(self))


@dataclass(frozen=True)
class Window:
    """A timed window.

    Attributes:
        span: when it was.
        process: the measuring process at its end.
        times_ms: float64, shape (queries,), in the order of the queries.
    """

    span: Span
    process: Process
    times_ms: Times


class MeasuringProcess:
    """A context manager around one engine at one batch size in a process of its own, which leaving kills.

    Every phase raises PhaseFailedError where the process crashes, hangs or refuses.
    """

    def __init__(self, job: Job, scratch: Path, deadline_s: float | None = None) -> None:
        """Start the process.

        Args:
            job: what is measured.
            scratch: folder of this process alone, for its log and its times.
            deadline_s: seconds after which any phase counts as hanging; None allows what the phase needs.
        """
        self.job = job
        self._scratch = scratch
        self._deadline_s = deadline_s
        self._child = Conversation(WORKER, scratch / "log")

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._child.pid

    def __enter__(self) -> MeasuringProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.__exit__(kind, error, trace)

    def import_runtime(self) -> Process:
        """Import the engine's runtime, and nothing of the engine: what memory is measured above."""
        return _process(self._ask("runtime", LOADING_ALLOWANCE_S, self.job.to_json()))

    def load(self) -> Process:
        """Load the engine, with one batch in place."""
        return _process(self._ask("load", LOADING_ALLOWANCE_S))

    def warm_up(self) -> WarmUp:
        """Run queries until their times settle."""
        return WarmUp(**whole(self._ask("warm_up", WARM_UP_LIMIT_S + SLOW_QUERY_S), WarmUp))

    def window(self, seconds: float, queries: int = 1) -> Window:
        """Run queries for at least so long and at least so many."""
        times = self._scratch / "times"
        amount = Amount(seconds, queries, str(times.resolve()))
        answer = self._ask("window", 1.5 * seconds + queries * SLOW_QUERY_S, asdict(amount))
        try:
            span, process = Span(**whole(answer["span"], Span)), _process(answer["process"])
            times_ns = np.fromfile(times, np.int64)
        except (InputError, OSError, LookupError, TypeError) as error:
            raise self._no_result("window", error) from error
        if len(times_ns) != span.queries:
            raise self._no_result("window", f"{span.queries} queries and {len(times_ns)} times")
        return Window(span, process, times_ns.astype(np.float64) / 1e6)

    def spans(self) -> Mapping[str, float] | None:
        """Return where a query's time goes on a GPU: medians in ms by the names of `engines.engine.Spans`, or None."""
        found: Mapping[str, float] | None = self._ask("spans", LOADING_ALLOWANCE_S)
        return found

    def hold(self) -> None:
        """Stop the process between phases, so that nothing of it runs while another engine is timed."""
        self._child.hold()

    def go_on(self) -> None:
        """Let the process go on."""
        self._child.go_on()

    def leave(self) -> None:
        """Put the engine away."""
        self._ask("leave", SLOW_QUERY_S)

    def _ask(self, phase: Phase, deadline_s: float, of: Any = None) -> Any:
        limit = deadline_s if self._deadline_s is None else self._deadline_s
        answer = self._child.ask({"phase": phase, "of": of}, deadline_s=limit)
        if isinstance(answer, Failed):
            raise PhaseFailedError(f"{self._name(phase)} {answer.reason}", answer)
        return answer.result

    def _no_result(self, phase: Phase, why: object) -> PhaseFailedError:
        failed = Failed(f"answered with something that is no result: {why}")
        return PhaseFailedError(f"{self._name(phase)} {failed.reason}", failed)

    def _name(self, phase: Phase) -> str:
        return f"the measuring process of {self.job.engine.name} at batch {self.job.batch}, {_DOING[phase]},"


_DOING: Mapping[Phase, str] = {
    "runtime": "importing the runtime",
    "load": "loading the engine",
    "warm_up": "warming up",
    "window": "in the window",
    "spans": "timing its spans",
    "leave": "putting the engine away",
}


def _process(value: Any) -> Process:
    return Process(**whole(value, Process))
