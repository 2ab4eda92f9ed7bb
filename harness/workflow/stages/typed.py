"""Type: the float graph in FP16 or BF16, for runtimes that take their precision from the graph's types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.calibration_images import CalibrationImages, calibration_images, settings, source
from harness.workflow.context import Context
from harness.workflow.stages import export

if TYPE_CHECKING:
    from harness.progress import Advance

Half = Literal["fp16", "bf16"]

_BATCH = 64


def task(context: Context, float_graph: Task, kind: Half) -> Task:
    """Return how the typed graph is made.

    FP16 needs images: what exceeds its range in one of them stays FP32. BF16 has the range of FP32.
    """
    looks = kind == "fp16"
    return Task(
        stage=export.NAME,
        path=f"graphs/{kind}",
        kind="onnx",
        settings={"graph": kind, "images": settings(context, "clean") if looks else None},
        make=lambda folder, parents: _make(context, folder, parents, kind),
        parents=(float_graph,),
        inputs=(source(context),) if looks else (),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...], kind: Half) -> Made:
    from calibration.graphs.typed import typed

    (float_graph,) = parents
    peaks = _peaks(context, float_graph) if kind == "fp16" else {}
    graph = typed(saved_models.load_graph(float_graph), kind, peaks)
    export.save(graph.model, folder)
    kept = [f"{node} stays FP32: {reason}" for node, reason in graph.kept_float]
    info = {key: float_graph.info(key) for key in ("input_shape", "classes")}
    return {**info, "warnings": kept}


def _peaks(context: Context, float_graph: Artifact) -> dict[str, float]:
    """Return the largest finite magnitude of every tensor over the calibration images."""
    from calibration.graphs.peaks import observed_peaks
    from calibration.graphs.typed import tensors
    from engines.onnxruntime.activations import activations

    model = saved_models.load_graph(float_graph)
    names = tensors(model)
    # Clean ones, whatever calibrates: a graph has no gradients to attack along.
    shown = calibration_images(context, None, "clean").checked(float_graph.info("input_shape"))
    with context.progress.bar("looking for large values", len(shown.ids)) as advance:
        return observed_peaks(activations(model, names, optimise=True), _batches(shown, advance), names)


def _batches(shown: CalibrationImages, advance: Advance) -> Iterator[Any]:
    for start in range(0, len(shown.ids), _BATCH):
        batch = shown.images[start : start + _BATCH]
        yield batch
        advance(len(batch))
