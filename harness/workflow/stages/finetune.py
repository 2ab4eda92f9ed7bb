"""Fine-tune: on clean or adversarial images, through the quantizers where they are in place, else in float.

Activation ranges stay where calibration put them, and the weights learn to live with them: they bound the activations.
Ranges that follow the activations instead (`finetune.ranges = "moving-average"`) leave nothing in the way of a few
channels that grow without end, until the integers are too coarse for all others. The weights' scales follow the
weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration.table import CalibrationTable
from harness.models.checkpoint import save_weights
from harness.workflow import saved_models, training
from harness.workflow.artifact import UNFINISHED, Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.stages import train

if TYPE_CHECKING:
    from harness.compression.twin import Twin

NAME = "finetune"

_MOMENTUM = 0.01


def task(context: Context, model: Task, ranges: Task, *, through_quantizers: bool) -> Task:
    """Return how the final checkpoint is made: weights, and the ranges of the twin.

    Args:
        context: of the experiment.
        model: the checkpoint that was quantized.
        ranges: its calibration table.
        through_quantizers: fine-tune the twin; else the weights stay, they were fine-tuned before.
    """
    trained = through_quantizers and context.experiment.finetune.method != "none"
    asked = _Asked("final", context, trained)
    return asked.task((model, ranges), lambda folder, parents: _final(asked, folder, *parents))


def float_task(context: Context, model: Task) -> Task:
    """Return how a float checkpoint is fine-tuned, before anything is quantized; itself where nothing is to be done."""
    if context.experiment.finetune.method == "none":
        return model
    asked = _Asked("finetuned", context, True)
    return asked.task((model,), lambda folder, parents: _float(asked, folder, *parents))


def passes_of(checkpoint: Artifact) -> float:
    """Return the gradient passes an image of all fine-tuning that a checkpoint has behind it, 0 for none."""
    trained = checkpoint.manifest["stage"] == train.NAME
    return 0.0 if trained else float(checkpoint.manifest["info"].get("gradient_passes", 0.0))


@dataclass(frozen=True)
class _Asked:
    """What fine-tuning is asked for, by the name of the checkpoint that it makes."""

    name: str
    context: Context
    trained: bool

    @property
    def _place(self) -> str:
        return f"{UNFINISHED}/{self.name}"

    @property
    def _settings(self) -> dict[str, Any]:
        experiment = self.context.experiment
        if not self.trained:
            return {"finetune": {"method": "none"}}
        return {"seed": experiment.seed, "finetune": experiment.finetune.model_dump(mode="json")}

    def task(self, parents: tuple[Task, ...], make: Any) -> Task:
        return Task(
            stage=NAME,
            path=f"checkpoints/{self.name}",
            kind="checkpoint",
            settings=self._settings,
            make=make,
            parents=parents,
            inputs=(self.context.data_input,) if self.trained else (),
            unfinished=self._place,
        )

    def learn(self, model: Any, parents: tuple[Artifact, ...], settle: Any = lambda: None) -> Made:
        experiment = self.context.experiment
        return training.learn(
            self.context,
            model,
            training.recipe(experiment.finetune, experiment.finetune.method),
            title="fine-tuning",
            seed=experiment.seed + 1,
            unfinished=self.context.folder / self._place,
            settings=self._settings,
            parents=parents,
            settle=settle,
        )


def _float(asked: _Asked, folder: Path, checkpoint: Artifact) -> Made:
    model = saved_models.load(asked.context, checkpoint)
    info = dict(asked.learn(model, (checkpoint,)))
    info["gradient_passes"] += passes_of(checkpoint)
    saved_models.save(folder, model)
    saved_models.copy_structure(checkpoint, folder)
    return {"input_shape": checkpoint.info("input_shape"), "classes": checkpoint.info("classes"), **info}


def _final(asked: _Asked, folder: Path, checkpoint: Artifact, ranges: Artifact) -> Made:
    from harness.compression.size import count_macs_and_parameters

    table = CalibrationTable.read(ranges.folder / saved_models.TABLE)
    twin = saved_models.calibrated(saved_models.load(asked.context, checkpoint), checkpoint, table)
    input_shape = checkpoint.info("input_shape")
    info: dict[str, Any] = {"input_shape": input_shape, "classes": checkpoint.info("classes")}
    if asked.trained:
        follows = asked.context.experiment.finetune.ranges == "moving-average"
        twin.follow(_MOMENTUM if follows else None)
        info |= asked.learn(twin, (checkpoint, ranges), twin.fit_weights)
        info["gradient_passes"] += passes_of(checkpoint)
        table = _table(twin, "moving average" if follows else table.method, table)
    elif passes := passes_of(checkpoint):  # it was fine-tuned before it was quantized
        info["gradient_passes"] = passes
    save_weights(twin.weights(), folder / saved_models.WEIGHTS)
    table.write(folder / saved_models.TABLE)
    saved_models.copy_structure(checkpoint, folder)
    info["macs"], info["parameters"] = count_macs_and_parameters(twin, input_shape)
    return info


def _table(twin: Twin, method: str, calibrated: CalibrationTable) -> CalibrationTable:
    twin.fit_weights()
    return twin.table(method, calibrated.images, calibrated.sample_ids)
