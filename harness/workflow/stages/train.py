"""Train: the base model, or a user's checkpoint taken as it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.workflow import saved_models, training
from harness.workflow.artifact import UNFINISHED, Made, Task
from harness.workflow.context import Context

NAME = "train"

_PLACE = f"{UNFINISHED}/base"


def task(context: Context) -> Task:
    """Return how the base checkpoint is made."""
    experiment = context.experiment
    settings: dict[str, Any] = {
        "seed": experiment.seed,
        "model": experiment.model.model_dump(mode="json", exclude={"checkpoint"}),
    }
    if experiment.model.checkpoint is None:
        settings["train"] = experiment.train.model_dump(mode="json")
    return Task(
        stage=NAME,
        path="checkpoints/base",
        kind="checkpoint",
        settings=settings,
        make=lambda folder, _: _make(context, folder, settings),
        inputs=(context.data_input, *context.model_inputs),
        unfinished=_PLACE,
    )


def _make(context: Context, folder: Path, settings: Mapping[str, Any]) -> Made:
    from harness.models.checkpoint import load_into, read_weights

    data = context.data
    model = saved_models.untrained(context, data.input_shape, data.classes)
    info: dict[str, Any] = {"input_shape": data.input_shape, "classes": data.classes}
    if (given := context.experiment.model.checkpoint) is not None:
        load_into(model, read_weights(Path(given)), Path(given))
    else:
        asked = context.experiment.train
        info |= training.learn(
            context,
            model,
            training.recipe(asked, asked.method),
            title="training",
            seed=context.experiment.seed,
            unfinished=context.folder / _PLACE,
            settings=settings,
            inputs=context.model_inputs,
        )
    saved_models.save(folder, model)
    return info
