"""Prune: whole channels of the model go, in one cut or in several with fine-tuning between."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compression.pruning import WITH_GRADIENTS
from harness.workflow import saved_models, training
from harness.workflow.artifact import UNFINISHED, Artifact, Made, Task
from harness.workflow.context import Context

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.compression.pruning import History, Pruning
    from harness.compression.size import Size

NAME = "prune"

_PLACE = f"{UNFINISHED}/pruned"
_BATCH = 64
_LOOKED_AT = 8  # random images that a candidate is calibrated on, where only its speed counts


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
    settings: dict[str, Any] = {"prune": asked.model_dump(mode="json")}
    if asked.steps > 1 or asked.method in WITH_GRADIENTS or asked.method == "random":
        settings["seed"] = experiment.seed
    if asked.steps > 1 or asked.method == "robust-taylor":
        settings["finetune"] = experiment.finetune.model_dump(mode="json")
    if asked.target == "latency":
        build = experiment.build
        settings["latency"] = [list(build.backend), list(build.precision), experiment.measure.batch[0]]
    return settings


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    import torch

    from harness.compression.pruning import prune
    from harness.compression.size import size_of

    (given,) = parents
    asked = context.experiment.prune
    model = saved_models.load(context, given)
    input_shape = given.info("input_shape")
    example = torch.zeros(1, *input_shape)
    before = size_of(model, input_shape)
    gradients = _gradients(context)
    wanted = _wanted(context, folder, model, example, gradients)
    history: History = []
    steps: list[Made] = []
    for number, cut in enumerate(wanted.in_steps(asked.steps), start=1):
        history += prune(model, example, cut, gradients, history)
        if number < asked.steps:
            steps.append(_finetuned(context, model, given, number))
    saved_models.save(folder, model)
    saved_models.save_structure(folder, history)
    after = size_of(model, input_shape)
    return {
        "input_shape": input_shape,
        "classes": given.info("classes"),
        "channel_ratio": wanted.sparsity,
        "size_before": asdict(before),
        "size": asdict(after),
        "steps": steps,
        "told": [_size_told(before, after)],
    }


def _size_told(before: Size, after: Size) -> str:
    was, now = (
        f"{size.parameters:,} parameters, {size.macs:,} multiply-accumulates, {size.weight_bytes:,} bytes"
        for size in (before, after)
    )
    return f"{was} before; {now} after"


def _wanted(
    context: Context, folder: Path, model: nn.Module, example: Tensor, gradients: Callable[[nn.Module], None] | None
) -> Pruning:
    """Return what to cut so that the asked share of the target goes."""
    from harness.compression.pruning import Pruning, prune, ratio_for

    asked = context.experiment.prune
    given = asked.model_dump(include={"method", "scope", "limits", "max_sparsity", "ignore", "round_to"})

    def cut(ratio: float) -> Pruning:
        return Pruning(**given, sparsity=ratio, seed=context.experiment.seed)

    if asked.target == "channels":
        return cut(asked.sparsity)
    quantity = _quantity(context, folder, tuple(example.shape[1:]))

    def made(ratio: float) -> nn.Module:
        candidate = deepcopy(model)
        prune(candidate, example, cut(ratio), gradients)
        return candidate

    with context.progress.bar(f"searching the channel ratio for {asked.target}", 1):
        found = ratio_for(made, quantity, (1 - asked.sparsity) * quantity(model), most=asked.max_sparsity)
    return cut(found.ratio)


def _quantity(context: Context, folder: Path, input_shape: tuple[int, ...]) -> Callable[[nn.Module], float]:
    """Return what finds the target quantity of a model: parameters, MACs, or an engine's median latency in ms."""
    from harness.compression.size import size_of

    target = context.experiment.prune.target
    if target != "latency":
        return lambda model: float(getattr(size_of(model, input_shape), target))
    return lambda model: _latency_ms(context, folder, model, input_shape)


def _latency_ms(context: Context, folder: Path, model: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Return the median latency of a model's engine, of the first backend, precision and batch of the experiment."""
    import torch

    from contracts.errors import InputError
    from engines.registry import choose
    from harness.compression.traced import traced
    from harness.compression.twin import Twin
    from harness.workflow.engine_latency import p50_ms

    channels, height, width = input_shape
    twin = Twin(traced(deepcopy(model).eval(), (channels, height, width)))
    twin.calibrate("minmax", [torch.rand(_LOOKED_AT, *input_shape, generator=torch.Generator().manual_seed(0))])
    experiment = context.experiment
    backend, _ = choose(experiment.build.backend[0])
    batch, precision = experiment.measure.batch[0], experiment.build.precision[0]
    if precision not in ("int8", "fp32"):
        raise InputError(
            f"prune.target = latency measures int8 or fp32 engines, and the first of build.precision is {precision}"
        )
    times, doubts = p50_ms(context, folder, twin, input_shape, backend, precision, (batch,))
    if batch not in times:
        raise InputError(
            f"the latency of a pruned model cannot be measured here ({'; '.join(doubts)}): choose another prune.target"
        )
    return times[batch]


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
    attack = _adversarial(experiment) if experiment.prune.method == "robust-taylor" else None
    return gradients_of(torch.from_numpy(shown.images), torch.from_numpy(shown.labels), _BATCH, attack)


def _adversarial(experiment: Any) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Return PGD at fine-tuning's radius."""
    from harness.attacks.differentiable import Differentiable
    from harness.attacks.pgd import PGD

    tuning = experiment.finetune
    made = PGD(steps=tuning.pgd_steps, step_size=2.5 * tuning.epsilon / tuning.pgd_steps, random_start=True)

    def attack(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return made(Differentiable(model), images, labels, epsilon=tuning.epsilon, seed=experiment.seed)

    return attack


def _finetuned(context: Context, model: nn.Module, given: Artifact, number: int) -> Made:
    """Fine-tune what a cut left, in place."""
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
        settings={**_settings(context), "cut": number},
        parents=(given,),
    )
