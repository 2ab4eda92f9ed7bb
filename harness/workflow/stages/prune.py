"""Prune: whole channels of the base model go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context

if TYPE_CHECKING:
    from torch import nn

NAME = "prune"


def task(context: Context, base: Task) -> Task:
    """Return how the pruned checkpoint is made; the base itself where nothing is to be pruned."""
    settings = context.experiment.prune
    if settings.method == "none":
        return base
    return Task(
        stage=NAME,
        path="checkpoints/pruned",
        kind="checkpoint",
        settings={"prune": settings.model_dump(mode="json")},
        make=lambda folder, parents: _make(context, folder, parents),
        parents=(base,),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    import torch

    from harness.compression.pruning import prune

    (base,) = parents
    settings = context.experiment.prune
    model = saved_models.load(context, base)
    before = _parameters(model)
    example = torch.zeros(1, *base.info("input_shape"))
    history = prune(model, example, method=settings.method, sparsity=settings.sparsity, round_to=settings.round_to)
    saved_models.save(folder, model)
    saved_models.save_structure(folder, history)
    return {
        "input_shape": base.info("input_shape"),
        "classes": base.info("classes"),
        "parameters_before": before,
        "parameters": _parameters(model),
    }


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
