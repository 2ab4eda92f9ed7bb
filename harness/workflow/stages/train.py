"""Train: the base model, or a user's checkpoint taken as it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context

if TYPE_CHECKING:
    from harness.training.recipe import Recipe
    from harness.workflow.experiment import Learning

NAME = "train"


def task(context: Context) -> Task:
    """Return how the base checkpoint is made."""
    experiment = context.experiment
    settings: dict[str, Any] = {"seed": experiment.seed, "model": experiment.model.model_dump(mode="json")}
    if experiment.model.checkpoint is None:
        settings["train"] = experiment.train.model_dump(mode="json")
    return Task(
        stage=NAME,
        path="checkpoints/base",
        kind="checkpoint",
        settings=settings,
        make=lambda folder, parents: _make(context, folder, parents),
        inputs=(context.data_input, *context.model_inputs),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    from harness.models.checkpoint import load_into, read_weights

    del parents
    data = context.data
    model = saved_models.untrained(context, data.input_shape, data.classes)
    info: dict[str, Any] = {"input_shape": data.input_shape, "classes": data.classes}
    if (given := context.experiment.model.checkpoint) is not None:
        load_into(model, read_weights(Path(given)), Path(given))
    else:
        from harness.training.loop import train

        settings = context.experiment.train
        info["loss"] = train(
            model,
            data.train,
            recipe(settings, settings.method),
            seed=context.experiment.seed,
            progress=context.progress,
            title="training",
        )
    saved_models.save(folder, model)
    return info


def recipe(settings: Learning, method: Any) -> Recipe:
    """Return what the training loop is told."""
    from harness.training.recipe import Recipe

    return Recipe(method=method, **settings.model_dump(exclude={"method", "ranges"}))
