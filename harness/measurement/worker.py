"""The measuring process: `python -m harness.measurement.worker`, one JSON job on its standard input.

It imports numpy and the engine's runtime and nothing else that is heavy, so that neither torch's thread pools nor the
harness's own packages share the process with what is measured. See `job.py` for what it answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from statistics import median

import numpy as np

from engines.engine import Engine, LoadOptions, Spans
from engines.loading import read_manifest
from engines.registry import backend
from harness.child.answering import answer
from harness.measurement.job import Job, WorkerResult
from harness.measurement.memory import peak_resident_bytes, resident_bytes
from harness.measurement.window import Report, timed_window, warm_up

SPAN_QUERIES, SPAN_WARM_UP = 110, 10


def _measure(job: Job, report: Report) -> WorkerResult:
    manifest = read_manifest(job.engine)
    runtime = backend(manifest.backend)
    used_memory = _device_memory_reader(runtime.takes_gpu)
    with suppress(ImportError):  # the loader says what is missing, with the command that installs it
        import_module(runtime.runtime)
    load = _loader(job.loader)
    baseline_bytes, device_baseline = resident_bytes(), used_memory()
    with load(job.engine, LoadOptions(job.batch, job.threads, job.cuda_graph)) as engine:
        shape = (job.batch, *engine.input_shape)
        images = np.random.default_rng(job.seed).random(shape, dtype=np.float32)
        run = engine.bind(images)
        warmth = warm_up(run)
        times_ns = timed_window(run, job.window_s, report)
        process_peak_bytes, device_used = peak_resident_bytes(), used_memory()
        spans = _median_spans(engine.bind_spans(images))
    np.save(job.times, times_ns, allow_pickle=False)
    return WorkerResult(
        warm_up=warmth,
        baseline_bytes=baseline_bytes,
        process_peak_bytes=process_peak_bytes,
        device_peak_bytes=_growth(device_baseline, device_used),
        torch_imported="torch" in sys.modules,
        spans=spans,
    )


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


def _device_memory_reader(takes_gpu: bool) -> Callable[[], int | None]:
    if not takes_gpu:
        return lambda: None
    from harness.devices.nvidia import used_memory_bytes

    return used_memory_bytes


def _growth(before: int | None, after: int | None) -> int | None:
    """Return the growth, or None where it was not seen: memory in use is never 0."""
    return after - before if before is not None and after is not None and after > before else None


if __name__ == "__main__":
    answer(lambda request, report: _measure(Job.from_json(request), report).to_json())
