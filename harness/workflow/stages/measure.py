"""Measure: an engine's latency and memory on this device, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from contracts.files import sha256_json
from harness.devices.environment import environment
from harness.measurement.client import measure_engine
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.fragments import FOLDER, MEASUREMENT

NAME = "measure"
LATENCIES = "latencies.npz"


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
    found = measure_engine(
        engine.folder,
        batches=settings.batch,
        profile=settings.profile,
        threads=settings.threads or cores(),
        scratch=folder,
        progress=context.progress,
        cuda_graph=settings.cuda_graph,
    )
    times: dict[str, Any] = {f"batch_{batch}": times_ms for batch, times_ms in found.times_ms.items()}
    np.savez_compressed(folder / LATENCIES, **times)
    return {
        "latency": [latency.to_json() for latency in found.latencies],
        "latency_reason": found.reason,
        "memory": found.memory.to_json(),
        "energy": found.energy.to_json(),
        "device": found.device.to_json(),
        "environment": environment().to_json(),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    from harness.devices.cpu import usable_cores

    return len(usable_cores())
