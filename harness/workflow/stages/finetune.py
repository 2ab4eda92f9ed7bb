"""Fine-tune: train the twin through its quantizers, on clean or adversarial images; the outcome is the final model.

Activation ranges stay where calibration put them, and the weights learn to live with them: they bound the activations.
Ranges that follow the activations instead (`finetune.ranges = "moving-average"`) leave nothing in the way of a few
channels that grow without end, until the integers are too coarse for all others. The weights' scales follow the
weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from calibration.table import CalibrationTable
from harness.models.checkpoint import save_weights
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, ExternalInput, Made, Task
from harness.workflow.context import Context
from harness.workflow.stages.train import recipe

NAME = "finetune"

_MOMENTUM = 0.01


def task(context: Context, pruned: Task, ranges: Task) -> Task:
    """Return how the final checkpoint is made."""
    experiment = context.experiment
    settings: dict[str, Any] = {"finetune": {"method": "none"}}
    inputs: tuple[ExternalInput, ...] = ()
    if experiment.finetune.method != "none":
        settings = {"seed": experiment.seed, "finetune": experiment.finetune.model_dump(mode="json")}
        inputs = (context.data_input,)
    return Task(
        stage=NAME,
        path="checkpoints/final",
        kind="checkpoint",
        settings=settings,
        make=lambda folder, parents: _make(context, folder, parents),
        parents=(pruned, ranges),
        inputs=inputs,
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    from harness.compression.size import count_macs_and_parameters

    pruned, ranges = parents
    settings = context.experiment.finetune
    table = CalibrationTable.read(ranges.folder / saved_models.TABLE)
    twin = saved_models.calibrated(saved_models.load(context, pruned), pruned, table)
    input_shape = pruned.info("input_shape")
    info: dict[str, Any] = {"input_shape": input_shape, "classes": pruned.info("classes")}
    if settings.method != "none":
        from harness.training.loop import train

        twin.follow(_MOMENTUM if settings.ranges == "moving-average" else None)
        info["loss"] = train(
            twin,
            context.data.train,
            recipe(settings, settings.method),
            seed=context.experiment.seed + 1,
            progress=context.progress,
            title="fine-tuning",
        )
        twin.fit_weights()
        method = "moving average" if settings.ranges == "moving-average" else table.method
        table = twin.table(method, table.images, table.sample_ids)
    save_weights(twin.weights(), folder / saved_models.WEIGHTS)
    table.write(folder / saved_models.TABLE)
    if (structure := pruned.folder / saved_models.STRUCTURE).exists():
        shutil.copyfile(structure, folder / saved_models.STRUCTURE)
    info["macs"], info["parameters"] = count_macs_and_parameters(twin, input_shape)
    return info
