"""Attribute: clean and robust accuracy of every model on the way to the engine, to see what was lost where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from contracts.files import write_json
from harness.robustness.intervals import share
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.fragments import FOLDER
from harness.workflow.judging_attack import Together, judging_attack, judging_attacks
from harness.workflow.stages.clean import NAME, evaluated

if TYPE_CHECKING:
    from torch import nn

KIND = "attribution"
STAGES = "stages.json"

BASE, PRUNED, FLOAT, TWIN = "base", "pruned", "float", "twin"

Models: TypeAlias = "Iterator[tuple[str, nn.Module]]"


def task(context: Context, base: Task, pruned: Task, final: Task, epsilon: float, device: str) -> Task:
    """Return how the models on the way are judged, each by the same attack through its own gradients."""
    checkpoints = (base,) if base.path == pruned.path else (base, pruned)  # nothing may have been pruned

    def models(parents: tuple[Artifact, ...]) -> Models:
        for stage, checkpoint in zip((BASE, PRUNED), parents[:-1], strict=False):
            yield stage, saved_models.load(context, checkpoint)
        twin = saved_models.load_twin(context, parents[-1])
        yield FLOAT, twin.quantize(False)
        yield TWIN, twin.quantize(True)

    one = judging_attack(context.experiment, epsilon)
    attack = Together(one.attack.name, (one,))
    return _task(context, "attribution", KIND, (*checkpoints, final), models, attack, device)


def twin_task(context: Context, final: Task, epsilon: float, device: str) -> Task:
    """Return how the twin alone is judged, by all attacks: no engine computes in such a width."""

    def models(parents: tuple[Artifact, ...]) -> Models:
        yield TWIN, saved_models.load_twin(context, parents[0])

    attacks = judging_attacks(context.experiment, epsilon)
    return _task(context, "twin", "accuracy of the twin", (final,), models, attacks, device)


def _task(
    context: Context,
    name: str,
    kind: str,
    parents: tuple[Task, ...],
    models: Callable[[tuple[Artifact, ...]], Models],
    attack: Together,
    device: str,
) -> Task:
    samples, given = context.experiment.eval.samples, attack.settings
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/{name}-{attack.name}-{given['norm']}-{given['epsilon']:g}-{samples or 'all'}",
        kind=kind,
        settings={"samples": samples, "seed": context.experiment.seed, "device": device, **given},
        make=lambda folder, made: _make(context, folder, models(made), attack),
        parents=parents,
        inputs=(context.data_input,),
    )


def _make(context: Context, folder: Path, models: Models, attack: Together) -> Made:
    from harness.robustness.model_accuracy import clean_and_robust

    split, epsilon = evaluated(context), attack.settings["epsilon"]
    stages = []
    for stage, model in models:
        with context.progress.bar(f"{attack.name} {epsilon:g} on {stage} itself", len(split)) as advance:
            right, robust = clean_and_robust(model.requires_grad_(False), split, attack, advance)
        stages.append({"stage": stage, "clean": asdict(share(right)), "robust": asdict(share(robust))})
    write_json(folder / STAGES, stages)
    return {"attack": attack.name, "stages": stages}
