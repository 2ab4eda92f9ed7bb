"""Quantize: put the quantizers in place and calibrate their ranges, in a torch model or in a given graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration.graphs.float_graph import FloatGraph
from calibration.graphs.qdq import DEPLOYED_BITS
from calibration.table import CalibrationTable
from contracts.errors import InputError
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.calibration_images import CalibrationImages, calibration_images, settings, source
from harness.workflow.context import Context

if TYPE_CHECKING:
    from harness.progress import Advance

NAME = "quantize"

_BATCH = 64


def task(context: Context, model: Task, keep_float: tuple[str, ...]) -> Task:
    """Return how the calibration table is made.

    Args:
        context: of the experiment.
        model: the pruned checkpoint, or a user's float graph.
        keep_float: layers that get no quantizers.
    """
    quantize = context.experiment.quantize
    return Task(
        stage=NAME,
        path="calibration/post-training",
        kind="calibration",
        settings={
            "bits": quantize.bits,
            "calibrator": quantize.calibrator,
            "keep_float": list(keep_float),
            "images": settings(context, quantize.calibration_data),
        },
        make=lambda folder, parents: _make(context, folder, parents, keep_float),
        parents=(model,),
        inputs=(source(context),),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...], keep_float: tuple[str, ...]) -> Made:
    (model,) = parents
    table = (_of_a_graph if model.kind == "onnx" else _of_a_model)(context, model, keep_float)
    table.write(folder / saved_models.TABLE)
    return {"tensors": len(table.tensors), "images": len(table.sample_ids)}


def _of_a_model(context: Context, checkpoint: Artifact, keep_float: tuple[str, ...]) -> CalibrationTable:
    import torch

    from harness.compression.traced import traced
    from harness.compression.twin import Twin

    quantize = context.experiment.quantize
    model = saved_models.load(context, checkpoint)
    channels, height, width = checkpoint.info("input_shape")
    twin = Twin(traced(model, (channels, height, width)), quantize.bits, keep_float)
    shown = calibration_images(context, model.requires_grad_(False)).checked((channels, height, width))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    twin.to(device)
    with context.progress.bar("calibrating", len(shown.ids)) as advance:
        batches = (torch.from_numpy(batch).to(device) for batch in _batches(shown, advance))
        twin.calibrate(quantize.calibrator, batches)
    return twin.to("cpu").table(quantize.calibrator, shown.kind, tuple(shown.ids.tolist()))


def _of_a_graph(context: Context, graph: Artifact, keep_float: tuple[str, ...]) -> CalibrationTable:
    from engines.onnxruntime.activations import activations

    quantize = context.experiment.quantize
    if quantize.bits != DEPLOYED_BITS:
        raise InputError(
            f"a given ONNX graph is quantized to {DEPLOYED_BITS} bits alone: leave quantize.bits = {quantize.bits} out"
        )
    given = FloatGraph.of(saved_models.load_graph(graph), keep_float)
    shown = calibration_images(context, None).checked(graph.info("input_shape"))
    run = activations(given.model, given.activations, optimise=True)
    with context.progress.bar("calibrating", len(shown.ids)) as advance:
        batches = _batches(shown, advance)
        return given.calibrate(run, batches, quantize.calibrator, shown.kind, tuple(shown.ids.tolist()))


def _batches(shown: CalibrationImages, advance: Advance) -> Iterator[Any]:
    for start in range(0, len(shown.ids), _BATCH):
        batch = shown.images[start : start + _BATCH]
        yield batch
        advance(len(batch))
