"""Against: an engine beside another one, windows in turn, and whether it is faster."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contracts.errors import HarnessError, InputError
from contracts.files import sha256_json
from harness.devices.environment import environment
from harness.measurement.alternation import WINDOW_S, Alternation, alternate
from harness.measurement.process import PhaseFailedError
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.fragments import COMPARISON, FOLDER
from harness.workflow.other_engine import OtherEngine
from harness.workflow.stages.measure import request

NAME = "measure"
MEDIANS = "against.npz"


def task(context: Context, engine: Task, other: OtherEngine, pairs: int, device: str) -> Task:
    """Return how an engine is compared with another one.

    Args:
        context: its `[measure]` says at which batch sizes.
        engine: the one that is judged.
        other: the one that it is judged against.
        pairs: pairs of windows for each batch size.
        device: name of this device.
    """
    measure = context.experiment.measure
    settings = {
        "batch": list(measure.batch),
        "threads": measure.threads,
        "cores": list(measure.cores),
        "cuda_graph": measure.cuda_graph,
        "pairs": pairs,
        "other": other.sha256,
        "device": device,
    }
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/against-{Path(engine.path).name}-{sha256_json(settings)[:8]}",
        kind=COMPARISON,
        settings=settings,
        make=lambda folder, parents: _make(context, folder, parents, other, pairs),
        parents=(engine,),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...], other: OtherEngine, pairs: int) -> Made:
    (engine,) = parents
    found: list[Alternation] = []
    for batch in context.experiment.measure.batch:
        ours, theirs = (request(context, place, (batch,)) for place in (engine.folder, other.folder))
        try:
            found.append(alternate(ours, theirs, batch, pairs, folder, context.progress, WINDOW_S))
        except PhaseFailedError as error:
            raise _told(error) from error
    arrays = {f"batch_{each.batch}": np.stack([each.ours_ms, each.theirs_ms, each.counted]) for each in found}
    np.savez_compressed(folder / MEDIANS, **arrays)  # type: ignore[arg-type]
    return {
        "against": [{**_named(other), **_judged(each)} for each in found],
        "environment": environment(context.machine).to_json(),
    }


def _told(error: PhaseFailedError) -> HarnessError:
    """Return a sentence with the way out: a comparison of which one half is missing is none."""
    return error.users_error() or InputError(
        f"{error}: the comparison needs both engines; measure each by itself first"
    )


def _named(other: OtherEngine) -> dict[str, object]:
    return {"backend": other.manifest.backend, "precision": other.manifest.precision, "sha256": other.sha256}


def _judged(found: Alternation) -> dict[str, object]:
    verdict = found.verdict
    left_out = int(len(found.counted) - found.counted.sum())
    return {
        "batch": found.batch,
        "pairs": verdict.pairs,
        "left_out": left_out,
        "window_s": found.window_s,
        "ratio": None if verdict.ratio is None else {"value": verdict.ratio, "ci99": verdict.ci99},
        "verdict": verdict.word,
        "reason": verdict.reason,
    }
