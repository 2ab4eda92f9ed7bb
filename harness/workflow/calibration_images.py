"""The images that calibrate: part of the training split, or a file of the user's own; clean or attacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import InputError
from contracts.files import sha256_file
from harness.workflow.artifact import ExternalInput
from harness.workflow.context import Context

if TYPE_CHECKING:
    from torch import nn

    from harness.data.dataset import Images, Labels

_BATCH = 125  # of the attack; larger ones are slower on a small CPU


@dataclass(frozen=True)
class CalibrationImages:
    """What is shown to the observers.

    Attributes:
        images: float32, shape (n, channels, height, width), in [0, 1].
        ids: int64, shape (n,): indices into the training split, or into the file.
        kind: "clean", "adversarial", "mixed", or the file's name.
    """

    images: Images
    ids: Labels
    kind: str


def source(context: Context) -> ExternalInput:
    """Return what the calibration images come from, as an input of artifacts."""
    given = context.experiment.data.calibration
    if given is None:
        return context.data_input
    path = Path(given)
    return ExternalInput("calibration images", lambda: sha256_file(path) if path.is_file() else None)


def settings(context: Context) -> Mapping[str, Any]:
    """Return every setting that decides which images these are."""
    experiment = context.experiment
    found: dict[str, Any] = {
        "seed": experiment.seed,
        "samples": experiment.data.calibration_samples,
        "data": experiment.quantize.calibration_data,
    }
    if experiment.quantize.calibration_data != "clean":
        name, epsilon = experiment.eval.attack[0], experiment.eval.epsilon[0]
        found["attack"] = {"name": name, "epsilon": epsilon, **asdict(_attack(context))}
    return found


def calibration_images(context: Context, model: nn.Module | None) -> CalibrationImages:
    """Return the images that calibrate.

    Args:
        context: of the experiment.
        model: the float model, which adversarial images are made against; None where there are no gradients.

    Raises:
        InputError: there are no such images, or adversarial ones are wanted without a model or without labels.
    """
    experiment = context.experiment
    wanted = experiment.quantize.calibration_data
    if experiment.data.calibration is not None:
        if wanted != "clean":
            raise InputError(
                f"quantize.calibration_data = {wanted} needs labels, and {experiment.data.calibration} has images "
                "alone: leave one of the two out"
            )
        return _from_file(context, Path(experiment.data.calibration))
    train = context.data.train
    ids = _drawn(train.labels, experiment.data.calibration_samples, experiment.seed)
    images = train.images[ids]
    if wanted != "clean":
        if model is None:
            raise InputError(
                f"quantize.calibration_data = {wanted} needs gradients, and a given ONNX graph has none: use clean"
            )
        turned = slice(None) if wanted == "adversarial" else slice(None, None, 2)
        images[turned] = _attacked(context, model, images[turned], train.labels[ids][turned], ids[turned])
    return CalibrationImages(images, ids, wanted)


def _from_file(context: Context, path: Path) -> CalibrationImages:
    from harness.data.images_file import read_images

    images = read_images(path)
    ids = _drawn(np.zeros(len(images), np.int64), context.experiment.data.calibration_samples, context.experiment.seed)
    return CalibrationImages(images[ids], ids, path.name)


def _drawn(labels: Labels, count: int, seed: int) -> Labels:
    from harness.data.calibration_part import calibration_indices

    # A data set smaller than the setting's default still calibrates, on all of its training images.
    return calibration_indices(labels, min(count, len(labels)), seed)


def _attack(context: Context) -> Any:
    from harness.attacks.registry import attack

    name = context.experiment.eval.attack[0]
    return attack(name, context.experiment.attack.get(name, {}))


def _attacked(context: Context, model: nn.Module, images: Images, labels: Labels, ids: Labels) -> Images:
    from harness.attacks.run import adversarial_images

    attack, experiment = _attack(context), context.experiment
    found = []
    with context.progress.bar("attacking calibration images", len(images)) as advance:
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            found.append(
                adversarial_images(
                    attack,
                    model,
                    None,
                    images[part],
                    labels[part],
                    epsilon=experiment.eval.epsilon[0],
                    image_ids=ids[part],
                    seed=experiment.seed,
                )
            )
            advance(len(found[-1]))
    return np.concatenate(found)
