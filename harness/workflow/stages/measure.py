"""Measure: an engine's latency, memory and energy on this device, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import InputError
from contracts.files import sha256_json
from harness.devices.cpu import usable_cores
from harness.devices.environment import environment
from harness.measurement.client import Request, measure_engine
from harness.measurement.measurement import DeviceState
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.fragments import FOLDER, MEASUREMENT

NAME = "measure"
LATENCIES = "latencies.npz"
DEVICE = "device.npz"
"""What was sampled of the device during the windows."""


def task(context: Context, engine: Task, device: str) -> Task:
    """Return how an engine's measurement is made."""
    measure = context.experiment.measure
    settings = {"measure": measure.model_dump(mode="json"), "device": device}
    # A setting that a later harness adds must not give yesterday's measurements another name.
    told = sha256_json([measure.model_dump(mode="json", exclude_defaults=True), device])
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/measurement-{Path(engine.path).name}-{told[:8]}",
        kind=MEASUREMENT,
        settings=settings,
        make=lambda folder, parents: _make(context, folder, parents),
        parents=(engine,),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    (engine,) = parents
    settings = context.experiment.measure
    found = measure_engine(request(context, engine.folder, settings.batch), folder, context.progress)
    times: dict[str, Any] = {f"batch_{batch}": times_ms for batch, times_ms in found.times_ms.items()}
    np.savez_compressed(folder / LATENCIES, **times)
    np.savez_compressed(folder / DEVICE, **_series(found.device))
    return {
        "latency": [latency.to_json() for latency in found.latencies],
        "latency_reason": found.reason,
        "memory": found.memory.to_json(),
        "energy": found.energy.to_json(),
        "device": found.device.to_json(),
        "environment": environment(context.machine).to_json(),
    }


def request(context: Context, engine: Path, batches: Sequence[int]) -> Request:
    """Return what is measured of an engine: everything but the batch sizes as `[measure]` says.

    Raises:
        InputError: a core that this process may not use, or one named twice.
    """
    settings = context.experiment.measure
    usable = usable_cores()
    if len(set(settings.cores)) < len(settings.cores) or not set(settings.cores) <= set(usable):
        raise InputError(
            f"measure.cores: {list(settings.cores)} are not distinct cores that this process may use, which are "
            f"{', '.join(map(str, usable))}"
        )
    return Request(
        folder=engine,
        batches=batches,
        profile=settings.profile,
        threads=settings.threads or len(settings.cores or usable),
        cores=settings.cores,
        cuda_graph=settings.cuda_graph,
        machine=context.machine,
    )


def _series(device: DeviceState) -> dict[str, Any]:
    """Return every sample of the device by `batch_<size>/<quantity>`, and when it was taken."""
    found: dict[str, Any] = {}
    for window in device.windows:
        series = {"at_s": window.watched.at_s, **window.watched.series}
        found.update({f"batch_{window.batch}/{name}": np.asarray(values) for name, values in series.items()})
    return found
