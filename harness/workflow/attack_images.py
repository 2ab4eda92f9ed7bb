"""Adversarial images for boards without gradients: made from the final model here, fitted to an engine there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError, MissingDependencyError
from harness.attacks.registry import attack, expanded, settings_of
from harness.workflow.artifact import Artifact, ancestors
from harness.workflow.context import Context
from harness.workflow.gradient_sources import gradient_sources
from harness.workflow.stages.clean import evaluated

if TYPE_CHECKING:
    from harness.robustness.recorded_images.replay import RecordedImages
    from harness.workflow.experiment import Experiment


def check_possible(experiment: Experiment, file: Path) -> None:
    """Refuse to begin what cannot end in a file.

    Raises:
        InputError: the model is a given graph, no attack follows gradients, or the file's name is a folder's.
        MissingDependencyError: torch is not installed.
    """
    if experiment.model.onnx is not None:
        raise InputError(
            f"the model is the ONNX file {experiment.model.onnx}, which has no gradients to make attack images along: "
            "leave --attack-images out, and attack its engines with 'harness eval --arms query,noise'"
        )
    if not _along_gradients(experiment):
        raise InputError(
            f"{', '.join(expanded(experiment.eval.attack))} follows no gradient, so that there is nothing to record: "
            "name another, pgd for example, with --attack"
        )
    if file.is_dir():
        raise InputError(f"{file} is a folder: name the file to write, for example {file / 'attack-images.npz'}")
    if find_spec("torch") is None:
        raise MissingDependencyError(
            "attack images are made along gradients, which need torch, which is not installed: install it with: "
            "pip install 'edge-robustness-harness[train]'"
        )


def make(context: Context, final: Artifact, file: Path) -> str:
    """Attack the final model, float and twin, write what comes of it, and return a sentence about it.

    Raises:
        InputError: neither gets any image right.
    """
    from harness.robustness.recorded_images.file import write

    recorded = _recorded(context, final)
    file_bytes = write(file, recorded)
    originals = len(set(recorded.rows.tolist()))
    return (
        f"{file}: {len(recorded.rows):,} adversarial images of {originals:,} of the first {recorded.samples:,} test "
        f"images, {file_bytes:,} bytes"
    )


def check_fits(context: Context, engine: Artifact) -> None:
    """Refuse attack images that are not of this engine's model and of this evaluation.

    Raises:
        InputError: see `harness.robustness.recorded_images.fit`.
    """
    from harness.data.registry import MAX_FILES_READ
    from harness.robustness.recorded_images.fit import Evaluated
    from harness.robustness.recorded_images.fit import check_fits as check

    replayed, asked = context.attack_images, context.experiment.eval
    if replayed is None:
        return
    # The digest of a data set of very many files is one of their times, which other machines' copies do not share.
    known = context.data_input.digest() if len(context.source.files) <= MAX_FILES_READ else None
    lineage = {sha256 for _, sha256 in ancestors(engine) if sha256 is not None}
    subject = Evaluated(
        test=context.data.test,
        samples=len(evaluated(context)),
        norm=asked.norm,
        epsilons=asked.epsilon,
        data_sha256=known,
        lineage=lineage,
        engine=f"engines/{engine.folder.name}",
    )
    check(replayed.images, str(asked.attack_images), subject)


def _along_gradients(experiment: Experiment) -> tuple[Any, ...]:
    found = [attack(name, experiment.attack.get(name, {})) for name in expanded(experiment.eval.attack)]
    return tuple(each for each in found if each.needs_gradient)


def _recorded(context: Context, final: Artifact) -> RecordedImages:
    from harness.robustness.batch_size import for_gradients
    from harness.robustness.recorded_images.recording import Recording
    from harness.robustness.recorded_images.replay import RecordedImages

    asked, split = context.experiment.eval, evaluated(context)
    sources = gradient_sources(context, final, ("float", "twin"))
    attacks = _along_gradients(context.experiment)
    recording = Recording(
        sources=sources,
        attacks=attacks,
        split=split,
        norm=asked.norm,
        epsilons=asked.epsilon,
        seed=context.experiment.seed,
        batch=for_gradients(sources["twin"], split.images),
    )
    arrays = recording.run(context.progress)
    if not arrays:
        raise InputError(
            f"the model gets none of the first {len(split)} test images right, so that there is nothing to attack: "
            "train it longer, or take more of them with --samples"
        )
    return RecordedImages(
        **arrays,
        norm=asked.norm,
        samples=len(split),
        seed=context.experiment.seed,
        settings={each.name: settings_of(each) for each in attacks},
        data_sha256=context.data_input.digest() or "",
        model_sha256=final.sha256,
    )
