"""Measuring one engine at several batch sizes, each in a fresh process, between two readings of the device's state."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from contracts.errors import InputError, unknown_name
from engines.backend import EngineManifest
from engines.loading import read_manifest
from engines.registry import backend, running_backend
from harness.child.asking import Answered, Failed, ask_child
from harness.devices.state import DeviceState, judge, read_state
from harness.measurement.energy import Energy
from harness.measurement.job import DEFAULT_LOADER, Job, WorkerResult
from harness.measurement.measurement import Measurement, MeasurementFailed, Memory, summarise
from harness.measurement.percentiles import Times
from harness.measurement.window import PROFILES, WARM_UP_LIMIT_S
from harness.progress import Progress, to_fraction

WORKER = (sys.executable, "-m", "harness.measurement.worker")
LOADING_ALLOWANCE_S = 300.0
"""How long loading may take before the worker counts as hanging: on boards some runtimes compile for minutes."""
IMAGE_SEED = 0
"""Every measurement runs the same random images."""


@dataclass(frozen=True)
class _Outcome:
    """What a worker found, and its queries' times."""

    result: WorkerResult
    times_ms: Times


@dataclass(frozen=True)
class _Window:
    """One batch size and the device around it."""

    batch: int
    outcome: _Outcome | Failed
    device: DeviceState


def window_s(profile: str) -> float:
    """Return the seconds of a profile's window.

    Raises:
        InputError: there is no such profile.
    """
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    return PROFILES[profile]


def measure_engine(
    folder: Path,
    *,
    batches: Sequence[int],
    profile: str,
    threads: int,
    scratch: Path,
    progress: Progress,
    cuda_graph: bool = False,
    loader: str = DEFAULT_LOADER,
    deadline_s: float | None = None,
) -> Measurement:
    """Measure latency and memory of the engine in `folder`.

    A worker that crashes, hangs or refuses a batch size costs that batch size alone and is told in `failures`, unless
    it refuses every one.

    Args:
        folder: the engine, with its manifest.
        batches: images of one query, each at least 1.
        profile: a key of `PROFILES`.
        threads: CPU threads of the engine; 0 leaves that to the runtime.
        scratch: folder for temporary files; nothing stays in it.
        progress: where progress is shown, in seconds of the windows.
        cuda_graph: run queries as CUDA graphs, where the runtime has them.
        loader: `module:callable` that the worker loads the engine with.
        deadline_s: seconds after which a worker counts as hanging; None allows for loading, warm-up and window.

    Raises:
        InputError: an unknown profile, a batch or thread count that cannot be, no engine in `folder`, or batch sizes
            of which the engine takes none.
        MissingDependencyError: its backend does not run here.
    """
    length_s = window_s(profile)
    if not batches or min(batches) < 1 or len(set(batches)) != len(batches) or threads < 0:
        raise InputError(
            f"measuring needs distinct batch sizes of at least 1 and threads of at least 0, got batches "
            f"{list(batches)} and {threads} threads"
        )
    manifest = read_manifest(folder)
    running_backend(manifest.backend)
    deadline = deadline_s if deadline_s is not None else LOADING_ALLOWANCE_S + WARM_UP_LIMIT_S + 1.5 * length_s
    scratch.mkdir(parents=True, exist_ok=True)
    windows = []
    with tempfile.TemporaryDirectory(dir=scratch, prefix="measuring-") as temporary:
        for batch in batches:
            times = Path(temporary).resolve() / f"batch-{batch}.npy"
            job = Job(folder.resolve(), batch, threads, length_s, IMAGE_SEED, cuda_graph, loader, times)
            with progress.bar(f"measuring {folder.name}, batch {batch}", length_s) as advance:
                windows.append(_measure_batch(job, deadline, advance))
    _refuse_what_nothing_takes(windows)
    return _assemble(manifest, threads, cuda_graph, windows)


def _refuse_what_nothing_takes(windows: Sequence[_Window]) -> None:
    """Turn a request of which nothing was measured, by the user's own doing, into an error."""
    outcomes = [window.outcome for window in windows]
    refused = [outcome.error(outcome.reason) for outcome in outcomes if isinstance(outcome, Failed)]
    errors = [error for error in refused if error is not None]
    if len(errors) == len(windows):
        raise errors[0]


def _measure_batch(job: Job, deadline_s: float, advance: Callable[[float], None]) -> _Window:
    show = to_fraction(advance, job.window_s)
    before = read_state()
    log = job.times.with_suffix(".log")
    answer = ask_child(WORKER, job.to_json(), deadline_s=deadline_s, log=log, on_progress=show)
    after = read_state()
    outcome = _read_outcome(answer, job.times)
    if isinstance(outcome, Failed):
        who = f"the measuring process of {job.engine.name} at batch {job.batch}"
        outcome = Failed(f"{who} {outcome.reason}", outcome.exit_code)
    return _Window(job.batch, outcome, DeviceState(before, after, *judge(before, after)))


def _read_outcome(answer: Answered | Failed, times: Path) -> _Outcome | Failed:
    if isinstance(answer, Failed):
        return answer
    try:
        result, times_ns = WorkerResult.from_json(answer.result), np.load(times, allow_pickle=False)
    except (InputError, OSError, ValueError) as error:
        return Failed(f"answered with something that is no result: {error}")
    return _Outcome(result, times_ns.astype(np.float64) / 1e6)


def _assemble(manifest: EngineManifest, threads: int, cuda_graph: bool, windows: Sequence[_Window]) -> Measurement:
    latencies, failures, times_ms = [], [], {}
    graphs = backend(manifest.backend).cuda_graphs
    for window in windows:
        if isinstance(window.outcome, Failed):
            failures.append(MeasurementFailed(window.batch, window.outcome.reason))
            continue
        times_ms[window.batch] = window.outcome.times_ms
        faults = (*window.device.reasons, *_faults(window.outcome.result, manifest.backend))
        found = summarise(window.batch, threads, window.outcome.times_ms, faults)
        latencies.append(replace(found, cuda_graph=cuda_graph and graphs, spans=window.outcome.result.spans))
    return Measurement(
        latencies=tuple(latencies),
        failures=tuple(failures),
        times_ms=times_ms,
        memory=_memory(manifest, [window.outcome.result for window in windows if isinstance(window.outcome, _Outcome)]),
        energy=Energy(),
        device=DeviceState(
            before=windows[0].device.before,
            after=windows[-1].device.after,
            valid=all(window.device.valid for window in windows),
            reasons=tuple(dict.fromkeys(reason for window in windows for reason in window.device.reasons)),
        ),
    )


def _faults(result: WorkerResult, backend: str) -> list[str]:
    """Say what the worker itself saw that spoils its window."""
    faults = []
    if not result.warm_up.settled:
        faults.append(
            f"the times did not settle within {WARM_UP_LIMIT_S:.0f} s of warm-up: stop other programs, fix the clocks, "
            "and measure again"
        )
    if result.torch_imported and backend != "torch":
        faults.append(f"torch was imported beside {backend}, whose times it may disturb: keep the loader free of it")
    return faults


def _memory(manifest: EngineManifest, results: Sequence[WorkerResult]) -> Memory:
    """Describe the process that grew largest."""
    if not results:
        reason = "no measuring process lived to tell its memory"
        return Memory(manifest.engine_bytes, manifest.weights_bytes, None, None, None, (reason,))
    largest = max(results, key=lambda result: result.process_peak_bytes)
    reasons: tuple[str, ...] = ()
    if largest.device_peak_bytes is None:
        reasons = (
            ("no growth of a GPU's memory was seen: there is no GPU, or its driver does not tell",)
            if backend(manifest.backend).takes_gpu
            else (f"{manifest.backend} runs on the CPU here, which has no memory of its own",)
        )
    return Memory(
        engine_bytes=manifest.engine_bytes,
        weights_bytes=manifest.weights_bytes,
        device_peak_bytes=largest.device_peak_bytes,
        process_peak_bytes=largest.process_peak_bytes,
        baseline_bytes=largest.baseline_bytes,
        reasons=reasons,
    )
