"""Quantize: put the quantizers in place and calibrate their ranges on images of the training split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context

if TYPE_CHECKING:
    from torch import Tensor

    from harness.data.dataset import Images
    from harness.progress import Advance

NAME = "quantize"

_BATCH = 64


def task(context: Context, pruned: Task) -> Task:
    """Return how the calibration table is made."""
    experiment = context.experiment
    return Task(
        stage=NAME,
        path="calibration/post-training",
        kind="calibration",
        settings={
            "seed": experiment.seed,
            "quantize": experiment.quantize.model_dump(mode="json"),
            "calibration_samples": experiment.data.calibration_samples,
        },
        make=lambda folder, parents: _make(context, folder, parents),
        parents=(pruned,),
        inputs=(context.data_input,),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    from harness.compression.traced import traced
    from harness.compression.twin import Twin
    from harness.data.calibration_part import calibration_indices

    (pruned,) = parents
    experiment = context.experiment
    labels = context.data.train.labels
    # A data set smaller than the setting's default still calibrates, on all of its training images.
    count = min(experiment.data.calibration_samples, len(labels))
    ids = calibration_indices(labels, count, experiment.seed)
    twin = Twin(traced(saved_models.load(context, pruned), context.data.input_shape), experiment.quantize.bits)
    with context.progress.bar("calibrating", len(ids)) as advance:
        twin.calibrate(experiment.quantize.calibrator, _batches(context.data.train.images[ids], advance))
    table = twin.table(experiment.quantize.calibrator, "clean", tuple(ids.tolist()))
    table.write(folder / saved_models.TABLE)
    return {"tensors": len(table.tensors), "images": len(ids)}


def _batches(images: Images, advance: Advance) -> Iterator[Tensor]:
    import torch

    for batch in torch.split(torch.from_numpy(images), _BATCH):
        yield batch
        advance(len(batch))
