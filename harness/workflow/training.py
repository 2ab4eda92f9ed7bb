"""How a stage trains: the settings become a recipe, the state is kept while it is unfinished, the story is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.files import sha256_json
from harness import __version__
from harness.devices.environment import installed_packages
from harness.workflow.artifact import Artifact, ExternalInput, Made
from harness.workflow.context import Context

if TYPE_CHECKING:
    from torch import nn

    from harness.training.recipe import Recipe
    from harness.training.trained import Trained
    from harness.workflow.experiment import Learning


def recipe(settings: Learning, method: Any) -> Recipe:
    """Return what the training loop is told."""
    from harness.training.recipe import Recipe

    shared = {field.name for field in fields(Recipe)} - {"method"}
    return Recipe(method=method, **settings.model_dump(include=shared))


def learn(
    context: Context,
    model: nn.Module,
    asked: Recipe,
    *,
    title: str,
    seed: int,
    unfinished: Path,
    settings: Mapping[str, Any],
    parents: tuple[Artifact, ...] = (),
    inputs: tuple[ExternalInput, ...] = (),
    settle: Callable[[], None] = lambda: None,
) -> Made:
    """Train a model in place on the experiment's training split, going on where a killed process was.

    Args:
        context: of the experiment.
        model: plain, or a twin.
        asked: hyper-parameters.
        title: names the work on the bar and in sentences.
        seed: of all random draws.
        unfinished: where the state lies from one epoch to the next.
        settings: the task's: a state that was made with others is not gone on from.
        parents: what the model was made from.
        inputs: what else it was made from.
        settle: called when weights were put in place from outside.

    Returns:
        What the manifest says of it: loss, epochs, the one that was kept, gradient passes an image, warnings.
    """
    from harness.training.loop import train

    made_from = {
        "settings": settings,
        "parents": [parent.sha256 for parent in parents],
        "inputs": [context.data_input.digest(), *(each.digest() for each in inputs)],
        "packages": {**installed_packages(), "harness": __version__},
    }
    return _told(
        train(
            model,
            context.data.train,
            asked,
            seed=seed,
            validation_seed=context.experiment.seed,
            progress=context.progress,
            title=title,
            unfinished=unfinished,
            made_from=sha256_json(made_from),
            settle=settle,
        )
    )


def for_epochs(asked: Recipe, epochs: int) -> Recipe:
    """Return a recipe of so many epochs, of which the last one counts."""
    return replace(asked, epochs=epochs, keep="last")


def _told(trained: Trained) -> Mapping[str, Any]:
    return {
        "loss": trained.loss,
        "kept_epoch": trained.kept_epoch,
        "epochs": [asdict(epoch) for epoch in trained.epochs],
        "validation_images": len(trained.validation_ids),
        "gradient_passes": trained.gradient_passes,
        "warnings": list(trained.warnings),
        "told": [_epoch_told(trained)],
    }


def _epoch_told(trained: Trained) -> str:
    """Return which epoch's weights were kept, and how they do on images that were not trained on."""
    kept = trained.epochs[trained.kept_epoch - 1]
    judged = [(name, share) for name, share in (("clean", kept.clean), ("robust", kept.robust)) if share is not None]
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in judged)
    on = f"; {shares} of {len(trained.validation_ids)} validation images" if judged else ""
    return f"epoch {trained.kept_epoch} of {len(trained.epochs)} kept{on}"
