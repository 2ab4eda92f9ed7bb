"""Clean: decisions of the float model and of an engine, and whether the engine answers the same thing twice."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from contracts.errors import InputError
from engines.engine import LoadOptions
from engines.loading import load_engine
from harness.data.dataset import Split
from harness.devices.environment import environment
from harness.robustness.decisions import BATCH, decisions_of
from harness.robustness.intervals import share
from harness.robustness.repeatability import measure, voted
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.calibration_images import check_shape
from harness.workflow.context import Context
from harness.workflow.fragments import CLEAN, FOLDER, REFERENCE

NAME = "eval"
OUTCOMES = "outcomes.npz"

_REPEATED = 200
"""Images that an engine is asked about again and again."""


def reference_task(context: Context, float_graph: Task, device: str) -> Task:
    """Return how the float model's decisions are made, the reference of every engine: its graph, node by node."""
    samples = context.experiment.eval.samples
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/float-{samples or 'all'}",
        kind=REFERENCE,
        settings={"samples": samples, "device": device},
        make=lambda folder, parents: _make_reference(context, folder, parents),
        parents=(float_graph,),
        inputs=(context.data_input,),
    )


def clean_task(context: Context, engine: Task, reference: Task, device: str) -> Task:
    """Return how the engine's clean decisions are made, and held against the float model's."""
    samples = context.experiment.eval.samples
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/clean-{Path(engine.path).name}-{samples or 'all'}",
        kind=CLEAN,
        settings={"samples": samples, "device": device, "repeated": _REPEATED},
        make=lambda folder, parents: _make_clean(context, folder, parents),
        parents=(engine, reference),
        inputs=(context.data_input,),
    )


def evaluated(context: Context) -> Split:
    """Return the first images of the test split, in its order."""
    return context.data.test.take(slice(context.experiment.eval.samples))


def _make_reference(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    from engines.onnxruntime.session import session

    (graph,) = parents
    split = evaluated(context)
    _check_fits(context, split, graph)
    model = session(graph.folder / saved_models.GRAPH, optimise=False)
    with context.progress.bar("float model, clean", len(split)) as advance:
        decisions = decisions_of(lambda images: model.run(None, {"images": images})[0], split.images, advance)
    np.savez_compressed(folder / OUTCOMES, labels=split.labels, float_decisions=decisions)
    return {"reference": asdict(share(decisions == split.labels))}


def _check_fits(context: Context, split: Split, graph: Artifact) -> None:
    """Refuse a data set that a graph was not made for."""
    name, classes = context.experiment.data.name, graph.info("classes")
    check_shape(split.images, graph.info("input_shape"), f"the images of the data set {name}")
    if (highest := int(split.labels.max())) >= classes:
        raise InputError(
            f"the data set {name} has labels up to {highest} but the model has {classes} classes: "
            "number the labels as the model's scores are"
        )


def _make_clean(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    engine_artifact, reference = parents
    split = evaluated(context)
    float_decisions = np.load(reference.folder / OUTCOMES, allow_pickle=False)["float_decisions"]
    with (
        context.progress.bar(f"{engine_artifact.folder.name}, clean", len(split)) as advance,
        load_engine(engine_artifact.folder, LoadOptions(BATCH)) as engine,
    ):
        repeatability = measure(engine.infer, split.images[:_REPEATED], batch=BATCH)
        clean_decisions = decisions_of(voted(engine.infer, repeatability.votes), split.images, advance)
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
        "repeatability": repeatability.to_json(),
        "warnings": [sign] if (sign := repeatability.warning()) else [],
        "environment": environment(context.machine).to_json(),
    }
