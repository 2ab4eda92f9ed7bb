"""The images that calibrate: part of the training split, or a file of the user's own; clean or attacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from contracts.errors import InputError
from contracts.files import sha256_file
from harness.workflow.artifact import ExternalInput
from harness.workflow.context import Context
from harness.workflow.judging_attack import judging_attack

if TYPE_CHECKING:
    from torch import nn

    from harness.data.dataset import Images, Labels

Kind = Literal["clean", "adversarial", "mixed"]
CALIBRATION_DATA: tuple[Kind, ...] = ("clean", "adversarial", "mixed")
"""What may be shown of the training split; any other kind is the name of a file."""

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

    def checked(self, input_shape: Sequence[int]) -> CalibrationImages:
        """Return these images, which a model must be able to take.

        Args:
            input_shape: channels, height and width that it takes.

        Raises:
            InputError: they are of another shape.
        """
        check_shape(self.images, input_shape, f"the calibration images ({self.kind})")
        return self


def source(context: Context) -> ExternalInput:
    """Return what the calibration images come from, as an input of artifacts."""
    given = context.lasting.data.calibration
    if given is None:
        return context.data_input
    path = Path(given)
    return ExternalInput("calibration images", lambda: sha256_file(path) if path.is_file() else None)


def settings(context: Context, kind: Kind) -> Mapping[str, Any]:
    """Return every setting that decides which images these are."""
    experiment = context.lasting
    found: dict[str, Any] = {"seed": experiment.seed, "samples": experiment.data.calibration_samples, "data": kind}
    if experiment.data.calibration is not None:
        found["file"] = Path(experiment.data.calibration).name
    if kind != "clean":
        found["attack"] = judging_attack(experiment).settings
    return found


def calibration_images(context: Context, model: nn.Module | None, kind: Kind | None = None) -> CalibrationImages:
    """Return the images that calibrate.

    Args:
        context: of the experiment.
        model: the float model, which adversarial images are made against; None where there are no gradients.
        kind: clean, all of them attacked, or every second one; None is the experiment's.

    Raises:
        InputError: there are no such images, or adversarial ones are wanted without a model or without labels.
    """
    experiment = context.lasting
    kind = kind or experiment.quantize.calibration_data
    if experiment.data.calibration is not None:
        if kind != "clean":
            raise InputError(
                f"quantize.calibration_data = {kind} needs labels, and {experiment.data.calibration} has images "
                "alone: leave one of the two out"
            )
        return _from_file(context, Path(experiment.data.calibration))
    if experiment.model.onnx is not None and experiment.data.name == "npz" and experiment.data.path is None:
        raise InputError(
            f"ranges need images to look at, and none are named for {experiment.model.onnx}: "
            "name a file of some hundred with --calibration FILE.npz, or a data set with --set data.path=FILE.npz"
        )
    train = context.data.train
    ids = _drawn(train.labels, experiment.data.calibration_samples, experiment.seed)
    images = train.images[ids]
    if kind != "clean":
        if model is None:
            raise InputError(
                f"quantize.calibration_data = {kind} needs gradients, and a given ONNX graph has none: use clean"
            )
        turned = slice(None) if kind == "adversarial" else slice(None, None, 2)
        images[turned] = _attacked(context, model, images[turned], train.labels[ids][turned], ids[turned])
    return CalibrationImages(images, ids, kind)


def check_shape(images: Images, input_shape: Sequence[int], where: str) -> None:
    """Raise InputError for images that a model cannot take.

    Args:
        images: shape (n, channels, height, width).
        input_shape: channels, height and width that the model takes.
        where: what the images are, for the sentence.
    """
    given, wanted = images.shape[1:], tuple(input_shape)
    if given != wanted:
        raise InputError(
            f"{where} are {given} (channels, height, width) but the model takes {wanted}: "
            "give images of the model's shape"
        )


def _from_file(context: Context, path: Path) -> CalibrationImages:
    from harness.data.images_file import read_images

    images = read_images(path)
    ids = _drawn(np.zeros(len(images), np.int64), context.lasting.data.calibration_samples, context.lasting.seed)
    return CalibrationImages(images[ids], ids, path.name)


def _drawn(labels: Labels, count: int, seed: int) -> Labels:
    from harness.data.calibration_part import calibration_indices

    # A data set smaller than the setting's default still calibrates, on all of its training images.
    return calibration_indices(labels, min(count, len(labels)), seed)


def _attacked(context: Context, model: nn.Module, images: Images, labels: Labels, ids: Labels) -> Images:
    attack = judging_attack(context.lasting)
    found = []
    with context.progress.bar("attacking calibration images", len(images)) as advance:
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            found.append(attack.at_full_strength(model, images[part], labels[part], ids[part]))
            advance(len(found[-1]))
    return np.concatenate(found)
