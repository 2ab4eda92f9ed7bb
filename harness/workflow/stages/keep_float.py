"""Keep float: the most sensitive layers, as many as the allowed drop needs, and what that costs on the engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from calibration.table import CalibrationTable
from contracts.files import write_json
from harness.workflow import engine_latency, saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.fragments import FOLDER
from harness.workflow.stages import quantize, sensitivity
from harness.workflow.stages.sensitivity import Cost

STEPS = "steps.json"


@dataclass(frozen=True)
class MixedPrecision:
    """Which layers stay in float, and what that buys and costs.

    Attributes:
        keep_float: their names, the most sensitive first.
        layers: how many layers there are.
        images: how many training images judged, none of which calibrated.
        chosen: the drop with these layers in float, in points.
        all_quantized: the drop with none.
        backend: whose engines were timed; None where no layer stays in float.
        p50_ms: batch size, and the median latency of the engine that is INT8 throughout and of the mixed one.
        doubts: why these times are not valid; nothing where they are.
    """

    keep_float: tuple[str, ...]
    layers: int
    images: int
    chosen: Cost
    all_quantized: Cost
    backend: str | None
    p50_ms: tuple[tuple[int, float, float], ...]
    doubts: tuple[str, ...]


def read(ranges: Artifact, latency: Artifact | None) -> MixedPrecision:
    """Return what the two tasks of this stage found out."""
    times = latency.info("p50_ms") if latency else ()
    return MixedPrecision(
        keep_float=tuple(ranges.info("keep_float")),
        layers=ranges.info("layers"),
        images=ranges.info("images"),
        chosen=Cost(**ranges.info("chosen")),
        all_quantized=Cost(**ranges.info("all_quantized")),
        backend=latency.info("backend") if latency else None,
        p50_ms=tuple((each["batch"], each["int8"], each["mixed"]) for each in times),
        doubts=tuple(latency.info("doubts")) if latency else (),
    )


def task(context: Context, pruned: Task, calibrated: Task, ranking: Task) -> Task:
    """Return how the table of the layers that stay quantized is made."""
    return Task(
        stage=quantize.NAME,
        path="calibration/mixed-precision",
        kind="calibration",
        settings={"max_drop": context.lasting.quantize.max_drop, **sensitivity.settings(context)},
        make=lambda folder, parents: _choose(context, folder, parents),
        parents=(pruned, calibrated, ranking),
        inputs=(context.data_input,),
    )


def _choose(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    """Leave the most sensitive layers in float, one more at a time, until the drop is allowed."""
    pruned, calibrated, ranking = parents
    full = CalibrationTable.read(calibrated.folder / saved_models.TABLE)
    judged = sensitivity.Judged(context, pruned, full)
    order = [cost.layer for cost in sensitivity.read(ranking).costs]
    steps = []
    with context.progress.bar("keeping layers in float", len(order)) as advance:
        for kept in range(len(order) + 1):
            steps.append(judged.cost(f"{kept} layers in float", order[:kept]))
            if steps[-1].worse <= context.lasting.quantize.max_drop:
                break
            advance(1)
    chosen = order[: len(steps) - 1]
    judged.twin(chosen).table(full.method, full.images, full.sample_ids).write(folder / saved_models.TABLE)
    write_json(folder / STEPS, [asdict(step) for step in steps])
    return {
        "keep_float": chosen,
        "layers": len(order),
        "images": judged.images,
        "chosen": asdict(steps[-1]),
        "all_quantized": asdict(steps[0]),
    }


def latency_task(context: Context, pruned: Task, calibrated: Task, ranges: Task, backend: str, device: str) -> Task:
    """Return how the latency of the mixed engine is held against the one that is INT8 throughout."""
    measure = context.experiment.measure
    return Task(
        stage=quantize.NAME,
        path=f"{FOLDER}/{device}/mixed-precision-latency-{backend}",
        kind="latency of mixed precision",
        settings={"backend": backend, "device": device, "measure": measure.model_dump(mode="json")},
        make=lambda folder, parents: _compare(context, folder, parents, backend),
        parents=(pruned, calibrated, ranges),
    )


def _compare(context: Context, folder: Path, parents: tuple[Artifact, ...], backend: str) -> Made:
    pruned, calibrated, ranges = parents
    p50_ms, doubtful = {}, []
    for name, ranged in (("int8", calibrated), ("mixed", ranges)):
        table = CalibrationTable.read(ranged.folder / saved_models.TABLE)
        twin = saved_models.calibrated(saved_models.load(context, pruned), pruned, table)
        p50_ms[name], reasons = engine_latency.p50_ms(context, folder, twin, pruned.info("input_shape"), backend)
        doubtful += reasons
    batches = [batch for batch in p50_ms["int8"] if batch in p50_ms["mixed"]]
    found = [{"batch": batch, **{name: times[batch] for name, times in p50_ms.items()}} for batch in batches]
    return {"backend": backend, "p50_ms": found, "doubts": list(dict.fromkeys(doubtful))}
