"""Evaluate: an engine's decisions on clean images and under attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import InputError
from contracts.files import sha256_json
from engines.engine import LoadOptions
from engines.loading import load_engine
from harness.data.dataset import Images, Split
from harness.devices.environment import environment
from harness.robustness.arms import ArmOutcome, Engagement, run_arm
from harness.robustness.decisions import BATCH, decisions_of, model_scores
from harness.robustness.intervals import share
from harness.robustness.warnings import warnings
from harness.robustness.worst_case import WorstCase, worst_case
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.calibration_images import check_shape
from harness.workflow.context import Context
from harness.workflow.fragments import ATTACK, CLEAN, FOLDER, REFERENCE
from harness.workflow.stages.build import graph_kind

if TYPE_CHECKING:
    from torch import nn

NAME = "eval"
OUTCOMES = "outcomes.npz"
IMAGES = "images.npz"

_SHOWN = 8


def reference_task(context: Context, final: Task, device: str) -> Task:
    """Return how the float model's decisions are made: the reference of every engine."""
    samples = context.experiment.eval.samples
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/float-{samples or 'all'}",
        kind=REFERENCE,
        settings={"samples": samples, "device": device},
        make=lambda folder, parents: _make_reference(context, folder, parents),
        parents=(final,),
        inputs=(context.data_input,),
    )


def clean_task(context: Context, engine: Task, reference: Task, device: str) -> Task:
    """Return how the engine's clean decisions are made, and held against the float model's."""
    samples = context.experiment.eval.samples
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/clean-{Path(engine.path).name}-{samples or 'all'}",
        kind=CLEAN,
        settings={"samples": samples, "device": device},
        make=lambda folder, parents: _make_clean(context, folder, parents),
        parents=(engine, reference),
        inputs=(context.data_input,),
    )


def attack_task(
    context: Context, engine: Task, final: Task, clean: Task, attack: str, epsilon: float, device: str
) -> Task:
    """Return how one attack's outcome is made."""
    experiment = context.experiment
    settings: dict[str, Any] = {
        "attack": attack,
        "hyper_parameters": hyper_parameters(context, attack),
        "epsilon": epsilon,
        "arms": list(experiment.eval.arms),
        "samples": experiment.eval.samples,
        "seed": experiment.seed,
        "device": device,
    }
    protocol = sha256_json(settings)[:8]
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/{attack}-{epsilon:g}-{Path(engine.path).name}-{protocol}",
        kind=ATTACK,
        settings=settings,
        make=lambda folder, parents: _make_attack(context, folder, parents, attack, epsilon),
        parents=(engine, final, clean),
        inputs=(context.data_input,),
    )


def hyper_parameters(context: Context, attack: str) -> Mapping[str, Any]:
    """Return every hyper-parameter of an attack, defaults included."""
    from harness.attacks.registry import attack as find_attack
    from harness.attacks.registry import settings_of

    return settings_of(find_attack(attack, context.experiment.attack.get(attack, {})))


def _evaluated(context: Context) -> Split:
    """Return the first images of the test split, in its order."""
    return context.data.test.take(slice(context.experiment.eval.samples))


def _make_reference(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    (final,) = parents
    split = _evaluated(context)
    _check_fits(context, split, final)
    with context.progress.bar("float model, clean", len(split)) as advance:
        decisions = decisions_of(_float_scores(context, final), split.images, advance)
    np.savez_compressed(folder / OUTCOMES, labels=split.labels, float_decisions=decisions)
    return {"reference": asdict(share(decisions == split.labels))}


def _check_fits(context: Context, split: Split, final: Artifact) -> None:
    """Refuse a data set that a given graph was not made for."""
    name, classes = context.experiment.data.name, final.info("classes")
    check_shape(split.images, final.info("input_shape"), f"the images of the data set {name}")
    if (highest := int(split.labels.max())) >= classes:
        raise InputError(
            f"the data set {name} has labels up to {highest} but the model has {classes} classes: "
            "number the labels as the model's scores are"
        )


def _float_scores(context: Context, final: Artifact) -> Callable[[Images], Any]:
    """Return the function from images to the float model's scores; a given graph runs node by node as written."""
    if final.kind == "onnx":
        from engines.onnxruntime.session import session

        given = session(final.folder / saved_models.GRAPH, optimise=False)
        return lambda images: given.run(None, {"images": images})[0]
    return model_scores(saved_models.load_twin(context, final).quantize(False))


def _attacked_model(context: Context, final: Artifact, backend: str, precision: Any) -> nn.Module:
    """Return the differentiable model that is the engine's own function."""
    twin = saved_models.load_twin(context, final).quantize(graph_kind(backend, precision) == "int8")
    # Only the images' gradient is wanted: the weights' would cost half as much again.
    return twin.requires_grad_(False)


def _make_clean(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    engine_artifact, reference = parents
    split = _evaluated(context)
    float_decisions = np.load(reference.folder / OUTCOMES, allow_pickle=False)["float_decisions"]
    with (
        context.progress.bar(f"{engine_artifact.folder.name}, clean", len(split)) as advance,
        load_engine(engine_artifact.folder, LoadOptions(BATCH)) as engine,
    ):
        clean_decisions = decisions_of(engine.infer, split.images, advance)
    np.savez_compressed(
        folder / OUTCOMES, labels=split.labels, float_decisions=float_decisions, clean_decisions=clean_decisions
    )
    right, before = clean_decisions == split.labels, float_decisions == split.labels
    return {
        "clean": asdict(share(right)),
        "reference": reference.info("reference"),
        "flips": {
            "against": "float",
            "to_wrong": int((before & ~right).sum()),
            "to_right": int((right & ~before).sum()),
            "changed": int((clean_decisions != float_decisions).sum()),
        },
        "environment": environment().to_json(),
    }


def _make_attack(context: Context, folder: Path, parents: tuple[Artifact, ...], attack: str, epsilon: float) -> Made:
    from harness.attacks.registry import attack as find_attack

    engine_artifact, final, clean = parents
    experiment = context.experiment
    split = _evaluated(context)
    clean_decisions = np.load(clean.folder / OUTCOMES, allow_pickle=False)["clean_decisions"]
    backend, precision = engine_artifact.info("engine")["backend"], engine_artifact.info("engine")["precision"]
    way = find_attack(attack, experiment.attack.get(attack, {}))
    arms = []
    with load_engine(engine_artifact.folder, LoadOptions(BATCH)) as engine:
        engagement = Engagement(
            engine=engine,
            model=_attacked_model(context, final, backend, precision) if way.needs_gradient else None,
            split=split,
            clean_decisions=clean_decisions,
            attack=way,
            epsilon=epsilon,
            seed=experiment.seed,
        )
        for name in experiment.eval.arms:
            title = f"{attack} {epsilon:g} {name} on {backend} {precision}"
            with context.progress.bar(title, len(engagement.attacked)) as advance:
                arms.append(run_arm(name, engagement, advance))
    outcome = worst_case(split.labels, clean_decisions, arms)
    decisions: dict[str, Any] = {f"{arm.name}_decisions": arm.decisions for arm in arms}
    np.savez_compressed(folder / OUTCOMES, winner=outcome.winner, **decisions)
    _save_images(folder, context, split, clean_decisions, arms)
    signs = tuple(warnings(clean_decisions, arms, along_gradients=way.needs_gradient))
    return _summary(outcome, arms, signs)


def _summary(outcome: WorstCase, arms: list[ArmOutcome], signs: tuple[str, ...]) -> Made:
    return {
        "worst_case": asdict(outcome.robust),
        "arms": {
            arm.name: {
                **asdict(alone),
                "unique_wins": wins,
                "queries": arm.queries,
                "seconds": round(arm.seconds, 3),
            }
            for arm, alone, wins in zip(arms, outcome.alone, outcome.unique_wins, strict=True)
        },
        "warnings": signs,
        "environment": environment().to_json(),
    }


def _save_images(folder: Path, context: Context, split: Split, clean_decisions: Any, arms: list[ArmOutcome]) -> None:
    """Keep the first images, in the test split's order, that some arm turned; of several arms the first."""
    found: dict[int, tuple[Images, int]] = {}
    for arm in arms:
        for row, image in zip(arm.rows, arm.adversarial, strict=True):
            found.setdefault(row, (image, int(arm.decisions[row])))
    rows = sorted(found)[:_SHOWN]
    empty = np.empty((0, *split.images.shape[1:]), np.float32)
    np.savez_compressed(
        folder / IMAGES,
        clean=split.images[rows],
        adversarial=np.stack([found[row][0] for row in rows]) if rows else empty,
        labels=split.labels[rows],
        clean_decisions=clean_decisions[rows],
        adversarial_decisions=np.array([found[row][1] for row in rows], np.int64),
        class_names=np.array(context.data.class_names),
    )
