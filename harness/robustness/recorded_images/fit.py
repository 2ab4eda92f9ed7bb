"""Whether recorded adversarial images are those of an evaluation: of its data set, its model and its ball."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from contracts.errors import InputError
from harness.attacks.ball import Norm
from harness.attacks.black_box.projection import TOLERANCE, distances
from harness.data.dataset import Split
from harness.robustness.recorded_images.replay import RecordedImages


@dataclass(frozen=True)
class Evaluated:
    """What is to be evaluated.

    Attributes:
        test: the whole test split.
        samples: how many of its first images are evaluated.
        norm: of the balls.
        epsilons: their radii.
        data_sha256: digest of the data set; None where it is not known or says nothing of the images.
        lineage: digests of all that the engine was made from.
        engine: its name.
    """

    test: Split
    samples: int
    norm: Norm
    epsilons: Sequence[float]
    data_sha256: str | None
    lineage: Collection[str]
    engine: str


def check_fits(recorded: RecordedImages, file: str, evaluated: Evaluated) -> None:
    """Refuse images that would tell nothing of an engine, or less than they seem to.

    Args:
        recorded: the images.
        file: where they lie, for the sentence.
        evaluated: what they are to be shown to.

    Raises:
        InputError: they are of another model, data set or norm, of larger balls alone, of fewer images than are
            evaluated, or an image is outside its ball.
    """
    if recorded.model_sha256 not in evaluated.lineage:
        raise InputError(
            f"{file} was made from another model than {evaluated.engine}, so that it tells nothing of it: export both "
            "graphs and images from one run folder"
        )
    _check_ball(recorded, file, evaluated)
    _check_images(recorded, file, evaluated)


def _check_ball(recorded: RecordedImages, file: str, evaluated: Evaluated) -> None:
    if recorded.norm != evaluated.norm:
        raise InputError(
            f"{file} holds images of {recorded.norm} balls and {evaluated.norm} is evaluated: name the file's with "
            f"--norm {recorded.norm}, or export with --norm {evaluated.norm}"
        )
    smallest = float(recorded.epsilon.min())
    if not min(evaluated.epsilons) >= smallest:
        raise InputError(
            f"{file} holds no image of epsilon {min(evaluated.epsilons):g} or less, its smallest is {smallest:g}: "
            "evaluate that or more with --epsilon, or export with the smaller one"
        )


def _check_images(recorded: RecordedImages, file: str, evaluated: Evaluated) -> None:
    test, rows = evaluated.test, recorded.rows
    if recorded.images.shape[1:] != test.images.shape[1:]:
        raise InputError(
            f"{file}: images have the shape {recorded.images.shape[1:]} and the data set's {test.images.shape[1:]}: "
            "export them from this data set"
        )
    if rows.min() < 0 or rows.max() >= len(test):
        raise InputError(
            f"{file}: row {rows.max() if rows.max() >= len(test) else rows.min()} is none of the test split's "
            f"{len(test)} images: export them from this data set"
        )
    if evaluated.data_sha256 not in (None, recorded.data_sha256):
        raise InputError(f"{file} was made from another data set than lies here: export it from this one")
    if (differing := recorded.labels != test.labels[rows]).any():
        raise InputError(
            f"{file}: the label of row {rows[differing][0]} is {recorded.labels[differing][0]} and the data set's "
            f"{test.labels[rows][differing][0]}: export them from this data set"
        )
    if evaluated.samples > recorded.samples:
        raise InputError(
            f"{file} covers the first {recorded.samples} images of the test split and {evaluated.samples} are "
            f"evaluated, so that the rest would count as robust: add --samples {recorded.samples}, or export more"
        )
    moved = distances(recorded.images, test.images[rows], recorded.norm)
    if (beyond := ~(moved <= recorded.epsilon + TOLERANCE)).any():
        worst = int(np.flatnonzero(beyond)[0])
        raise InputError(
            f"{file}: a version of row {rows[worst]} lies {moved[worst]:.6g} from its original, beyond its epsilon "
            f"{recorded.epsilon[worst]:g}: export them again from this data set"
        )
