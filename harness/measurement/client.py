"""Measuring one engine at several batch sizes, each in a fresh process, with the device watched meanwhile."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contracts.errors import InputError, unknown_name
from engines.backend import EngineManifest
from engines.loading import read_manifest
from engines.registry import backend, running_backend
from harness.devices.machine import THIS_MACHINE, Machine
from harness.devices.power.finding import find_rig
from harness.devices.power.meter import Absent, Meter, Rig
from harness.devices.validity import doubts
from harness.devices.watch import Watch
from harness.measurement.energy import EnergyWindow, energy_window, told
from harness.measurement.job import DEFAULT_LOADER, Job
from harness.measurement.measurement import (
    DeviceState,
    Measurement,
    MeasurementFailed,
    WindowDevice,
    summarise,
)
from harness.measurement.memory import GpuMemory, Memory, largest_of, memory
from harness.measurement.process import MeasuringProcess, PhaseFailedError, Window
from harness.measurement.window import PROFILES, WARM_UP_LIMIT_S, WarmUp
from harness.progress import Progress, to_fraction

IMAGE_SEED = 0
"""Every measurement runs the same random images."""
IDLE_S = 2.0
"""How long idle power is read, with the engine loaded and no query."""


@dataclass(frozen=True)
class Request:
    """What is to be measured of one engine.

    Attributes:
        folder: the engine, with its manifest.
        batches: images of one query, each at least 1.
        profile: a key of `PROFILES`.
        threads: CPU threads of the engine; 0 leaves that to the runtime.
        cores: numbers of the cores that the process is held to; empty takes all that this one may use.
        cuda_graph: run queries as CUDA graphs, where the runtime has them.
        loader: `module:callable` that the measuring process loads the engine with.
        deadline_s: seconds after which any phase counts as hanging; None allows what each needs.
        machine: whose state is read.
    """

    folder: Path
    batches: Sequence[int]
    profile: str
    threads: int
    cores: tuple[int, ...] = ()
    cuda_graph: bool = False
    loader: str = DEFAULT_LOADER
    deadline_s: float | None = None
    machine: Machine = THIS_MACHINE

    def job(self, batch: int) -> Job:
        """Return what one measuring process is given."""
        folder = self.folder.resolve()
        return Job(folder, batch, self.threads, self.cores, IMAGE_SEED, self.cuda_graph, self.loader)


@dataclass(frozen=True)
class _Found:
    """One batch size that was measured."""

    batch: int
    warmth: WarmUp
    window: Window
    spans: Mapping[str, float] | None
    device: WindowDevice
    faults: tuple[str, ...]
    memory: Memory
    energy: EnergyWindow | None


def window_s(profile: str) -> float:
    """Return the seconds of a profile's window.

    Raises:
        InputError: there is no such profile.
    """
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    return PROFILES[profile]


def measure_engine(request: Request, scratch: Path, progress: Progress) -> Measurement:
    """Measure latency, memory and energy of an engine.

    A process that crashes, hangs or refuses a batch size costs that batch size alone and is told in `failures`, unless
    every one is refused.

    Args:
        request: what is measured.
        scratch: folder for temporary files; nothing stays in it.
        progress: where progress is shown, in seconds of the windows.

    Raises:
        InputError: an unknown profile, a batch or thread count that cannot be, no engine in the folder, or batch sizes
            of which the engine takes none.
        MissingDependencyError: its backend does not run here.
    """
    length_s, batches = window_s(request.profile), list(request.batches)
    if not batches or min(batches) < 1 or len(set(batches)) != len(batches) or request.threads < 0:
        raise InputError(
            f"measuring needs distinct batch sizes of at least 1 and threads of at least 0, got batches {batches} and "
            f"{request.threads} threads"
        )
    manifest = read_manifest(request.folder)
    running_backend(manifest.backend)
    rig = find_rig(request.machine, on_gpu=backend(manifest.backend).takes_gpu)
    scratch.mkdir(parents=True, exist_ok=True)
    found: list[_Found] = []
    failed: dict[int, PhaseFailedError] = {}
    for batch in batches:
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="measuring-") as temporary,
            progress.bar(f"measuring {request.folder.name}, batch {batch}", length_s) as advance,
        ):
            try:
                found.append(_measure(request, manifest, batch, rig, Path(temporary), to_fraction(advance, length_s)))
            except PhaseFailedError as error:
                failed[batch] = error
    refusals = [refusal for each in failed.values() if (refusal := each.users_error()) is not None]
    if len(refusals) == len(batches):
        raise refusals[0]
    return _assemble(request, manifest, rig, found, failed)


def _measure(
    request: Request,
    manifest: EngineManifest,
    batch: int,
    rig: Rig | Absent,
    scratch: Path,
    show: Callable[[float], None],
) -> _Found:
    length_s = window_s(request.profile)
    with MeasuringProcess(request.job(batch), scratch, request.deadline_s) as process:
        baseline = process.import_runtime()
        gpu = GpuMemory(request.machine.gpu, process.pid) if backend(manifest.backend).takes_gpu else None
        process.load()
        meter = Meter(rig) if isinstance(rig, Rig) else None
        idle = _idle_watts(meter)
        warmth = process.warm_up()

        def tick(seconds: float) -> None:
            show(min(seconds / length_s, 1.0))
            if gpu is not None:
                gpu.look()

        with Watch(request.machine, request.cores, process.pid, meter, tick) as watch:
            window = process.window(length_s)
        tick(length_s)  # the engine is still loaded, and the watcher ticks no more
        spans = process.spans()
        process.leave()
    watched = watch.watched
    return _Found(
        batch=batch,
        warmth=warmth,
        window=window,
        spans=spans,
        device=WindowDevice(batch, watched, doubts(watched)),
        faults=_faults(warmth, window, manifest.backend),
        memory=memory(manifest, batch, baseline, window.process, gpu),
        energy=None if isinstance(rig, Absent) else energy_window(rig, watched, window.span, batch, idle),
    )


def _idle_watts(meter: Meter | None) -> Mapping[str, float] | None:
    """Return watts by rail while nothing runs."""
    if meter is None:
        return None
    before = after = meter.sample()
    while after.seconds - before.seconds < IDLE_S:
        time.sleep(IDLE_S / 10)
        after = meter.sample()
    return after.watts_since(before)


def _assemble(
    request: Request,
    manifest: EngineManifest,
    rig: Rig | Absent,
    found: Sequence[_Found],
    failed: Mapping[int, PhaseFailedError],
) -> Measurement:
    graphs = request.cuda_graph and backend(manifest.backend).cuda_graphs
    latencies = [
        replace(
            summarise(
                each.batch,
                request.threads,
                each.window.times_ms,
                each.window.span.seconds,
                (*each.device.reasons, *each.faults),
            ),
            warm_up_queries=each.warmth.queries,
            cores=request.cores,
            cuda_graph=graphs,
            spans=each.spans,
        )
        for each in found
    ]
    return Measurement(
        latencies=tuple(latencies),
        failures=tuple(MeasurementFailed(batch, str(error)) for batch, error in failed.items()),
        times_ms={each.batch: each.window.times_ms for each in found},
        memory=largest_of(manifest, [each.memory for each in found]),
        energy=told(rig, [each.energy for each in found if each.energy is not None]),
        device=DeviceState(tuple(each.device for each in found)),
    )


def _faults(warmth: WarmUp, window: Window, backend: str) -> tuple[str, ...]:
    """Say what the measuring process itself saw that spoils its window."""
    faults = []
    if not warmth.settled:
        faults.append(
            f"the times did not settle within {WARM_UP_LIMIT_S:.0f} s of warm-up: stop other programs, fix the clocks, "
            "and measure again"
        )
    if window.process.torch_imported and backend != "torch":
        faults.append(f"torch was imported beside {backend}, whose times it may disturb: keep the loader free of it")
    return tuple(faults)
