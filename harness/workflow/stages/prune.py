"""Prune: whole channels of the model go, in one cut or in several with fine-tuning between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compression.pruning import NEEDS, WITH_GRADIENTS
from harness.workflow import pruning_target, saved_models, training
from harness.workflow.artifact import UNFINISHED, Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.stages import finetune

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.compression.pruning import History, Pruning
    from harness.compression.size import Size

NAME = "prune"

_PLACE = f"{UNFINISHED}/pruned"
_BATCH = 64


def task(context: Context, model: Task) -> Task:
    """Return how the pruned checkpoint is made; the model itself where nothing is to be pruned."""
    experiment = context.experiment
    asked = experiment.prune
    if asked.method == "none":
        return model
    return Task(
        stage=NAME,
        path="checkpoints/pruned",
        kind="checkpoint",
        settings=_settings(context),
        make=lambda folder, parents: _make(context, folder, parents),
        parents=(model,),
        inputs=(context.data_input,) if asked.steps > 1 or asked.method in WITH_GRADIENTS else (),
        unfinished=_PLACE,
    )


def _settings(context: Context) -> dict[str, Any]:
    """Return the settings that decide what is cut, and no others."""
    experiment = context.experiment
    asked = experiment.prune
    needs = NEEDS[asked.method]
    settings: dict[str, Any] = {"prune": asked.model_dump(mode="json")}
    if asked.steps > 1 or needs.gradients != "none" or needs.seed:
        settings["seed"] = experiment.seed
    if asked.steps > 1 or needs.gradients == "adversarial":
        settings["finetune"] = experiment.finetune.model_dump(mode="json")
    if asked.target == "latency":
        settings["latency"] = pruning_target.latency_settings(context)
    return settings


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    from harness.compression.pruning import channel_ratio
    from harness.compression.size import size_of

    (given,) = parents
    model = saved_models.load(context, given)
    input_shape = given.info("input_shape")
    before = size_of(model, input_shape)
    gradients = _gradients(context)
    goal = pruning_target.goal(context, folder, model, input_shape)
    sparsity = context.experiment.prune.sparsity
    if goal is not None:
        sparsity = goal.ratio(context, lambda ratio: _candidate(context, model, input_shape, ratio, gradients))
    history, steps = _cut(context, model, given, _pruning(context, sparsity), gradients)
    saved_models.save(folder, model)
    saved_models.save_structure(folder, history)
    after, cut_share = size_of(model, input_shape), channel_ratio(model, history)
    reached = goal.outcome(model, cut_share) if goal is not None else {"told": [], "warnings": []}
    passes = finetune.passes_of(given) + sum(step["gradient_passes"] for step in steps)
    return {
        "input_shape": input_shape,
        "classes": given.info("classes"),
        "sparsity": sparsity,
        "channel_ratio": cut_share,
        "size_before": asdict(before),
        "size": asdict(after),
        "steps": steps,
        **({"gradient_passes": passes} if passes else {}),
        **reached,
        "told": [f"{cut_share:.1%} of the channels went; {_size_told(before, after)}", *reached["told"]],
        "warnings": [*(warning for step in steps for warning in step["warnings"]), *reached["warnings"]],
    }


def _cut(
    context: Context,
    model: nn.Module,
    given: Artifact,
    whole: Pruning,
    gradients: Callable[[nn.Module], None] | None,
) -> tuple[History, list[Made]]:
    """Prune a model in place, fine-tuning between cuts; return what went, and what is to be said of every training."""
    import torch

    from harness.compression.pruning import prune

    example = torch.zeros(1, *given.info("input_shape"))
    history: History = []
    steps: list[Made] = []
    for number, cut in enumerate(whole.in_steps(context.experiment.prune.steps), start=1):
        history += prune(model, example, cut, gradients, history)
        if cut != whole:
            steps.append(_finetuned(context, model, given, number, cut))
    return history, steps


def _size_told(before: Size, after: Size) -> str:
    was, now = (
        f"{size.parameters:,} parameters, {size.macs:,} multiply-accumulates, {size.weight_bytes:,} bytes"
        for size in (before, after)
    )
    return f"{was} before; {now} after"


def _pruning(context: Context, ratio: float) -> Pruning:
    """Return the whole cut of a share of the channels."""
    from harness.compression.pruning import Pruning

    given = context.experiment.prune.model_dump(
        include={"method", "scope", "limits", "max_sparsity", "ignore", "round_to"}
    )
    return Pruning(**given, sparsity=ratio, seed=context.experiment.seed)


def _candidate(
    context: Context,
    model: nn.Module,
    input_shape: Sequence[int],
    ratio: float,
    gradients: Callable[[nn.Module], None] | None,
) -> nn.Module:
    """Return a copy of a model without a share of its channels."""
    import torch

    from harness.compression.pruning import prune

    candidate = deepcopy(model)
    prune(candidate, torch.zeros(1, *input_shape), _pruning(context, ratio), gradients)
    return candidate


def _gradients(context: Context) -> Callable[[nn.Module], None] | None:
    """Return what takes the gradients that Taylor importances are made of; None where the method needs none."""
    from harness.compression.pruning import gradients_of

    experiment = context.experiment
    if experiment.prune.method not in WITH_GRADIENTS:
        return None
    import torch

    from harness.data.calibration_part import calibration_indices

    train = context.data.train
    count = min(experiment.prune.gradient_samples, len(train))
    shown = train.take(calibration_indices(train.labels, count, experiment.seed))
    attack = _adversarial(experiment) if NEEDS[experiment.prune.method].gradients == "adversarial" else None
    return gradients_of(torch.from_numpy(shown.images), torch.from_numpy(shown.labels), _BATCH, attack)


def _adversarial(experiment: Any) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Return PGD at fine-tuning's radius."""
    from harness.attacks.differentiable import Differentiable
    from harness.attacks.pgd import PGD
    from harness.training.searches import step_size

    tuning = experiment.finetune
    made = PGD(steps=tuning.pgd_steps, step_size=step_size(tuning.epsilon, tuning.pgd_steps), random_start=True)

    def attack(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return made(Differentiable(model), images, labels, epsilon=tuning.epsilon, seed=experiment.seed)

    return attack


def _finetuned(context: Context, model: nn.Module, given: Artifact, number: int, cut: Pruning) -> Made:
    """Fine-tune what a cut left, in place.

    Started again, a search for a latency may find another ratio: a state of other channels is not gone on from.
    """
    experiment = context.experiment
    method = "standard" if experiment.finetune.method == "none" else experiment.finetune.method
    asked = training.recipe(experiment.finetune, method)
    return training.learn(
        context,
        model,
        training.for_epochs(asked, experiment.prune.step_epochs),
        title=f"fine-tuning after cut {number}",
        seed=experiment.seed + 1 + number,
        unfinished=context.folder / _PLACE / str(number),
        settings={**_settings(context), "cut": asdict(cut)},
        parents=(given,),
    )
