"""Recording: which versions of an image are kept, and that they are what attacks come by whatever the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

import torch

from harness.attacks.apgd import APGD
from harness.attacks.ball import Ball, Norm
from harness.attacks.black_box.projection import TOLERANCE, distances
from harness.attacks.differentiable import Differentiable
from harness.attacks.pgd import PGD
from harness.progress import Silent
from harness.robustness.recorded_images.recording import Recorder, Recording
from harness.robustness.recorded_images.replay import FINAL
from tests.harness.robustness.tiny_models import sources, split_of

Array = npt.NDArray[Any]

EPSILON = 0.1


def darkness(images: torch.Tensor) -> torch.Tensor:
    """Return logits whose margin for class 0 is a tenth less the first pixel."""
    first = images[:, 0, 0, 0]
    return torch.stack([0.1 - first, torch.zeros_like(first)], 1)


def recorder(kept: int, norm: Norm = "linf") -> Recorder:
    """Return a recorder of two black images of 2 x 1 pixels."""
    clean = np.zeros((2, 1, 2, 1), np.float32)
    return Recorder(Differentiable(darkness), clean, np.zeros(2, np.int64), Ball(norm, EPSILON), kept)


def version(*pixels: float) -> Array:
    """Return one version."""
    return np.array(pixels, np.float32).reshape(1, 1, 2, 1)


def kept(found: Recorder, row: int) -> list[tuple[float, int]]:
    """Return first pixel and iterate of every version of an image."""
    images, rows, iterates = found.versions()
    return [
        (round(float(image[0, 0, 0]), 4), int(at))
        for image, at in zip(images[rows == row], iterates[rows == row], strict=True)
    ]


def test_the_versions_are_kept_that_the_source_is_least_sure_of() -> None:
    found = recorder(kept=3)
    for value in (0.05, 0.01, 0.07, 0.03, 0.09):
        scores = found.scores(version(value, 0.0), np.array([1]))
        assert scores.tolist() == [[1.0, 0.0]], "nothing fools it"
    found.end(np.concatenate([version(0.02, 0.0), version(0.0, 0.1)]))
    assert kept(found, 1) == [(0.09, 4), (0.07, 2), (0.0, FINAL)], "what the attack returned, whatever the margin"
    assert kept(found, 0) == [(0.02, FINAL)]


def test_the_same_version_is_kept_once_and_the_last_is_called_the_last() -> None:
    found = recorder(kept=4)
    for value in (0.05, 0.05, 0.08, 0.05):
        found.scores(version(value, 0.0), np.array([0]))
    found.end(np.concatenate([version(0.05, 0.0), version(0.0, 0.0)]))
    assert kept(found, 0) == [(0.08, 2), (0.05, FINAL)]


@pytest.mark.parametrize(("norm", "inside"), [("linf", True), ("l2", False)])
def test_what_lies_outside_the_ball_is_not_kept(norm: Norm, inside: bool) -> None:
    found = recorder(kept=4, norm=norm)
    found.scores(version(0.0999, 0.0999), np.array([0]))
    found.scores(version(0.1001, 0.0), np.array([0]))
    assert kept(found, 0) == ([(0.0999, 0)] if inside else [])


def test_scores_that_are_not_finite_are_no_margin_at_all() -> None:
    def broken(images: torch.Tensor) -> torch.Tensor:
        logits = darkness(images)
        return torch.where(images[:, :1, 0, 0] > 0.05, torch.nan, logits)

    clean = np.zeros((1, 1, 2, 1), np.float32)
    found = Recorder(Differentiable(broken), clean, np.zeros(1, np.int64), Ball("linf", EPSILON), 1)
    found.scores(version(0.06, 0.0), np.array([0]))
    found.scores(version(0.04, 0.0), np.array([0]))
    assert kept(found, 0) == [(0.06, 0)]


RECORDING = Recording(
    sources=sources(),
    attacks=(PGD(steps=12), APGD(steps=11)),
    split=split_of(20),
    norm="linf",
    epsilons=(0.05, 0.2),
    seed=4,
    batch=20,
    kept=3,
)


@pytest.fixture(scope="module")
def arrays() -> dict[str, Array]:
    return RECORDING.run(Silent())


def test_every_attack_source_and_radius_has_its_versions(arrays: dict[str, Array]) -> None:
    rows, split = arrays["rows"], RECORDING.split
    assert set(np.unique(rows)) == set(RECORDING.right())
    assert 10 <= len(RECORDING.right()) < 20, "what both sources get wrong is not attacked"
    assert (arrays["labels"] == split.labels[rows]).all()
    parts = list(zip(arrays["attack"], arrays["source"], arrays["epsilon"], rows, strict=True))
    assert {part[:3] for part in parts} == {
        (attack, source, epsilon)
        for attack in ("pgd", "apgd-ce")
        for source in ("float", "twin")
        for epsilon in (0.05, 0.2)
    }
    for part in set(parts):
        mine = np.array([part == each for each in parts])
        assert 1 <= mine.sum() <= 3
        assert (arrays["iterate"][mine] == FINAL).sum() == 1
        assert len(np.unique(arrays["images"][mine], axis=0)) == mine.sum()
    moved = distances(arrays["images"], split.images[rows], "linf")
    assert (moved <= arrays["epsilon"] + TOLERANCE).all()
    assert (moved > 0.04).mean() > 0.5
    assert arrays["images"].dtype == np.float32


def test_the_attacks_own_images_are_those_of_the_attack(arrays: dict[str, Array]) -> None:
    from harness.attacks.target import Blind

    rows = RECORDING.right()
    images, labels = (torch.from_numpy(array[rows]) for array in (RECORDING.split.images, RECORDING.split.labels))
    found = PGD(steps=12)(
        Blind(RECORDING.sources["twin"]), images, labels, epsilon=0.2, image_ids=torch.from_numpy(rows), seed=4
    ).numpy()
    mine = (arrays["attack"] == "pgd") & (arrays["source"] == "twin") & (arrays["epsilon"] == 0.2)
    mine &= arrays["iterate"] == FINAL
    assert (arrays["rows"][mine] == rows).all()
    assert (arrays["images"][mine] == found).all()


def test_batches_change_nothing(arrays: dict[str, Array]) -> None:
    again = replace(RECORDING, batch=7).run(Silent())
    for name, array in arrays.items():
        assert (again[name] == array).all(), name


def test_nothing_is_recorded_where_no_image_is_right() -> None:
    split = RECORDING.split
    wrong = replace(split, labels=np.full(len(split), 4))
    rows = np.setdiff1d(np.arange(20), replace(RECORDING, split=wrong).right())
    assert replace(RECORDING, split=wrong.take(rows)).run(Silent()) == {}
