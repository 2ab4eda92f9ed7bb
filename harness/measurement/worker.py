"""The measuring process: `python -m harness.measurement.worker`, one phase a line on its standard input.

It imports numpy and the engine's runtime and nothing else that is heavy, so that neither torch's thread pools nor the
harness's own packages share the process with what is measured. See `job.py` for the phases.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from engines.engine import Engine, LoadOptions, Spans
from engines.loading import read_manifest
from engines.registry import backend
from harness.child.answering import Report, answer
from harness.measurement.job import Amount, Job, Process, whole
from harness.measurement.own_memory import peak_resident_bytes, resident_bytes
from harness.measurement.window import timed_window, warm_up

SPAN_QUERIES, SPAN_WARM_UP = 110, 10


class Bench:
    """The engine on the bench, from phase to phase."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._job: Job
        self._run: Callable[[], None]
        self._run_spans: Callable[[], Spans] | None

    def take(self, request: Mapping[str, Any], report: Report) -> Any:
        """Go through one phase; `request` has its name and, for some, what it is given."""
        del report  # the window is silent: whoever wrote about it would share its cores
        phases: Mapping[str, Callable[[Any], Any]] = {
            "runtime": self._import_runtime,
            "load": self._load,
            "warm_up": lambda _: asdict(warm_up(self._run)),
            "window": self._window,
            "spans": lambda _: _median_spans(self._run_spans),
            "leave": lambda _: self._held.close(),
        }
        return phases[request["phase"]](request.get("of"))

    def _import_runtime(self, value: Any) -> Any:
        self._job = Job.from_json(value)
        if self._job.cores:
            os.sched_setaffinity(0, self._job.cores)  # before the runtime counts cores and starts its threads
        with suppress(ImportError):  # the loader says what is missing, with the command that installs it
            import_module(backend(read_manifest(self._job.engine).backend).runtime)
        return _process()

    def _load(self, _: Any) -> Any:
        job = self._job
        load = _loader(job.loader)
        engine = self._held.enter_context(load(job.engine, LoadOptions(job.batch, job.threads, job.cuda_graph)))
        shape = (job.batch, *engine.input_shape)
        images = np.random.default_rng(job.seed).random(shape, dtype=np.float32)
        self._run, self._run_spans = engine.bind(images), engine.bind_spans(images)
        return _process()

    def _window(self, value: Any) -> Any:
        amount = Amount(**whole(value, Amount))
        with Path(amount.times).open("wb") as file:
            span = timed_window(self._run, amount.seconds, lambda times: times.tofile(file), queries=amount.queries)
        return {"span": asdict(span), "process": _process()}


def _process() -> dict[str, Any]:
    return asdict(Process(resident_bytes(), peak_resident_bytes(), "torch" in sys.modules))


def _median_spans(run: Callable[[], Spans] | None) -> Mapping[str, float] | None:
    """Return the median of every span, each over the same queries; the first ones warm up."""
    if run is None:
        return None
    found = [asdict(run()) for _ in range(SPAN_QUERIES)][SPAN_WARM_UP:]
    return {name: median(spans[name] for spans in found) for name in found[0]}


def _loader(name: str) -> Callable[[Path, LoadOptions], Engine]:
    module, _, attribute = name.partition(":")
    found: Callable[[Path, LoadOptions], Engine] = getattr(import_module(module), attribute)
    return found


if __name__ == "__main__":
    answer(Bench().take)
