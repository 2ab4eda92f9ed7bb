"""Recorded adversarial images: replayed, as a file, and held against what is to be evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from contracts.errors import InputError
from harness.attacks.registry import attack, settings_of
from harness.attacks.victim import Victim
from harness.data.dataset import Split
from harness.robustness.arms import TRANSFER
from harness.robustness.plan import FILE, plan
from harness.robustness.recorded_images.file import read, replay, write
from harness.robustness.recorded_images.fit import Evaluated, check_fits
from harness.robustness.recorded_images.replay import FINAL, Recorded, RecordedImages

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]

ORIGINAL = 0.5
SPLIT = Split(np.full((6, 1, 2, 2), ORIGINAL, np.float32), np.zeros(6, np.int64))


def stored(*versions: tuple[int, float, int, float], norm: str = "linf") -> RecordedImages:
    """Return images of one colour: row, change, iterate and epsilon each."""
    rows, changes, iterates, epsilons = (np.array(values) for values in zip(*versions, strict=True))
    return RecordedImages(
        images=(ORIGINAL + np.broadcast_to(changes[:, None, None, None], (len(rows), 1, 2, 2))).astype(np.float32),
        labels=np.zeros(len(rows), np.int64),
        rows=rows.astype(np.int64),
        iterate=iterates.astype(np.int64),
        attack=np.full(len(rows), "pgd"),
        source=np.full(len(rows), "twin"),
        epsilon=epsilons.astype(np.float64),
        norm=norm,  # type: ignore[arg-type]
        samples=6,
        seed=3,
        settings={"pgd": {"steps": 20, "step_size": None}},
        data_sha256="data",
        model_sha256="model",
    )


def recorded(images: RecordedImages) -> Recorded:
    """Return the attack that shows these images."""
    return Recorded(sha256="digest", attacks="pgd", sources="twin", stored=images)


class Brightest(Victim):
    """Takes for class 1 whose first pixel is above a bound, and remembers what it was shown."""

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.shown: list[tuple[int, float]] = []

    def scores(self, images: Array, rows: Array) -> Array:
        """Return the margin either way; see `Victim`."""
        first = images[:, 0, 0, 0].copy()
        self.shown += [(int(row), round(float(value) - ORIGINAL, 3)) for row, value in zip(rows, first, strict=True)]
        images[:] = np.nan  # a victim may write to what it is given
        return np.stack([self.bound - first, first - self.bound], 1).astype(np.float32)


def shown(victim: Victim, images: RecordedImages, epsilon: float, rows: list[int]) -> Array:
    """Replay on images with these rows of the split."""
    ids = np.array(rows, np.int64)
    clean = SPLIT.take(ids)
    return recorded(images)(victim, clean.images, clean.labels, epsilon=epsilon, image_ids=ids)


def test_versions_are_shown_until_one_fools() -> None:
    images = stored(
        (4, 0.05, 1, 0.1), (4, 0.09, 2, 0.1), (1, 0.02, FINAL, 0.1), (4, 0.07, FINAL, 0.1), (1, 0.04, 0, 0.1)
    )
    victim = Brightest(ORIGINAL + 0.045)
    found = shown(victim, images, 0.1, [1, 4])
    assert victim.shown == [(0, 0.02), (1, 0.07), (0, 0.04)], "what an attack returned comes first"
    assert found[:, 0, 0, 0] == pytest.approx([ORIGINAL + 0.04, ORIGINAL + 0.07]), "the nearest, and what fooled"


def test_larger_balls_are_left_out_and_come_first_where_they_fit() -> None:
    images = stored((0, 0.01, FINAL, 0.02), (0, 0.05, 0, 0.1), (0, 0.3, FINAL, 0.4))
    victim = Brightest(1.0)
    shown(victim, images, 0.1, [0])
    assert victim.shown == [(0, 0.05), (0, 0.01)]


def test_an_image_without_versions_returns_as_it_is_unasked() -> None:
    victim = Brightest(0.0)
    found = shown(victim, stored((2, 0.1, FINAL, 0.1), (5, 0.1, FINAL, 0.1)), 0.1, [0, 2, 3, 5, 1])
    assert {row for row, _ in victim.shown} == {1, 3}
    assert (found[[0, 2, 4]] == ORIGINAL).all()


def test_batches_change_nothing() -> None:
    draw = np.random.default_rng(5)
    images = stored(*((int(draw.integers(6)), float(draw.uniform(-0.1, 0.1)), turn, 0.1) for turn in range(30)))
    rows = [3, 0, 5, 1, 2, 4]
    whole = shown(Brightest(ORIGINAL + 0.06), images, 0.1, rows)
    alone = [shown(Brightest(ORIGINAL + 0.06), images, 0.1, [row]) for row in rows]
    assert (whole == np.concatenate(alone)).all()


def test_settings_are_a_few_words() -> None:
    made = recorded(stored((0, 0.1, FINAL, 0.1)))
    assert settings_of(made) == {"sha256": "digest", "attacks": "pgd", "sources": "twin"}


@pytest.mark.parametrize("arms", [("transfer", "loop"), ("noise",)])
def test_the_file_stands_in_for_gradients(arms: tuple[str, ...]) -> None:
    replayed = recorded(stored((0, 0.1, FINAL, 0.1)))

    def planned(sources: list[str]) -> list[tuple[str, str, str | None]]:
        found = plan(arms, ["pgd"], lambda name: attack(name, {}), sources, "no torch", replayed)
        assert set(found.skipped) == ({"loop"} & set(arms) if not sources else set())
        return [(step.arm, step.attack.name, step.source) for step in found.steps]

    first = (TRANSFER, "recorded", FILE)
    assert planned([])[0] == first
    assert planned([]) == [first, *([("noise", "noise", None)] if "noise" in arms else [])]
    climbed = [step for step in planned(["float", "twin"]) if step[0] == TRANSFER]
    along = [(TRANSFER, "pgd", "float"), (TRANSFER, "pgd", "twin")] if TRANSFER in arms else []
    assert climbed == [first, *along]


def test_a_file_returns_what_was_written(tmp_path: Path) -> None:
    images = stored((0, 0.1, FINAL, 0.1), (3, -0.05, 2, 0.1))
    file = tmp_path / "new folder" / "images.npz"
    assert write(file, images) == file.stat().st_size
    again = read(file)
    for field in fields(images):
        before, after = getattr(images, field.name), getattr(again, field.name)
        assert np.array_equal(before, after) if isinstance(before, np.ndarray) else before == after
        assert type(before) is type(after)
    before = file.read_bytes()
    write(file, images)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert replay(file).attacks == "pgd"


def rewritten(file: Path, **changed: Any) -> None:
    """Write a whole file and then some of its arrays anew, None leaving one out."""
    write(file, stored((0, 0.1, FINAL, 0.1), (3, -0.05, 2, 0.1)))
    with np.load(file) as archive:
        arrays = {**archive, **changed}
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})


BAD_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda file: None, "is no file"),
    "folder": (lambda file: file.mkdir(), "is no file"),
    "text": (lambda file: file.write_text("images"), "cannot be read as .npz"),
    "empty": (lambda file: file.write_bytes(b""), "cannot be read as .npz"),
    "array": (lambda file: np.save(file.open("wb"), np.ones(3)), "no adversarial images of this harness"),
    "other": (lambda file: np.savez(file, images=np.ones(3)), "no adversarial images of this harness"),
    "pickled": (lambda file: rewritten(file, attack=np.array([{}, {}], object)), "cannot be read as .npz"),
    "newer": (lambda file: rewritten(file, format_version=2, harness_version="9.1"), "version 2 .* harness 9.1"),
    "versionless": (lambda file: rewritten(file, format_version=np.array(["x"])), "is of version"),
    "lacking": (lambda file: rewritten(file, rows=None), "has no array rows"),
    "labelless": (lambda file: rewritten(file, labels=None), "has no array labels"),
    "bytes": (lambda file: rewritten(file, images=np.zeros((2, 1, 2, 2), np.uint8)), "images are uint8"),
    "short": (lambda file: rewritten(file, rows=np.array([1])), r"rows are int64 of shape \(1,\)"),
    "flat": (lambda file: rewritten(file, images=np.zeros((2, 4), np.float32)), r"have the shape \(2, 4\)"),
    "none": (
        lambda file: rewritten(
            file,
            images=np.zeros((0, 1, 2, 2), np.float32),
            **dict.fromkeys(("labels", "rows", "iterate"), np.zeros(0, np.int64)),
            **dict.fromkeys(("attack", "source"), np.zeros(0, "U3")),
            epsilon=np.zeros(0),
        ),
        r"have the shape \(0, 1, 2, 2\)",
    ),
    "nan": (lambda file: rewritten(file, images=np.full((2, 1, 2, 2), np.nan, np.float32)), "not all finite"),
    "bright": (lambda file: rewritten(file, images=np.full((2, 1, 2, 2), 1.1, np.float32)), r"in \[0, 1\]"),
    "norm": (lambda file: rewritten(file, norm=np.array("l7")), "norm 'l7'"),
    "settings": (lambda file: rewritten(file, settings=np.array("{")), "settings are no JSON"),
    "radius": (lambda file: rewritten(file, epsilon=np.array([np.nan, 0.1])), "epsilon"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused(name: str, tmp_path: Path) -> None:
    spoil, sentence = BAD_FILES[name]
    file = tmp_path / "images.npz"
    spoil(file)
    with pytest.raises(InputError, match=sentence) as refused:
        read(file)
    assert str(file) in str(refused.value)


def test_a_torn_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    write(file, stored((0, 0.1, FINAL, 0.1), (3, -0.05, 2, 0.1)))
    whole = file.read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 50)):
        file.write_bytes(whole[:end])
        with pytest.raises(InputError):
            read(file)
    for place in range(0, len(whole), max(1, len(whole) // 50)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read(file)  # some bytes of a zip archive say nothing
        except InputError:
            continue


EVALUATED = Evaluated(SPLIT, 6, "linf", (0.1, 0.2), "data", {"model", "graph"}, "engines/openvino-int8")

UNFIT: dict[str, tuple[Callable[[RecordedImages], RecordedImages], Evaluated, str]] = {
    "model": (lambda found: replace(found, model_sha256="other"), EVALUATED, "another model than engines/openvino"),
    "norm": (lambda found: replace(found, norm="l2"), EVALUATED, "l2 balls and linf is evaluated"),
    "radius": (lambda found: found, replace(EVALUATED, epsilons=(0.1, 0.04)), "no image of epsilon 0.04 or less"),
    "data": (lambda found: replace(found, data_sha256="other"), EVALUATED, "another data set"),
    "shape": (
        lambda found: replace(found, images=np.zeros((2, 1, 3, 3), np.float32)),
        EVALUATED,
        r"shape \(1, 3, 3\) and the data set's \(1, 2, 2\)",
    ),
    "row": (lambda found: replace(found, rows=np.array([0, 6])), EVALUATED, "row 6 is none of the test split's 6"),
    "negative row": (lambda found: replace(found, rows=np.array([-1, 0])), EVALUATED, "row -1 is none"),
    "label": (lambda found: replace(found, labels=np.array([0, 2])), EVALUATED, "label of row 3 is 2 and .* 0"),
    "samples": (lambda found: replace(found, samples=5), EVALUATED, "covers the first 5 images .* --samples 5"),
    "ball": (
        lambda found: replace(found, images=found.images + np.float32(2e-6)),
        EVALUATED,
        "row 0 lies 0.10000.* beyond its epsilon 0.1",
    ),
    "l2 ball": (
        lambda found: replace(found, norm="l2"),
        replace(EVALUATED, norm="l2"),
        "row 0 lies 0.2 from its original",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_images_of_something_else_are_refused(name: str) -> None:
    alter, evaluated, sentence = UNFIT[name]
    images = stored((0, 0.1, FINAL, 0.1), (3, -0.05, 2, 0.1))
    check_fits(images, "images.npz", EVALUATED)
    with pytest.raises(InputError, match=sentence) as refused:
        check_fits(alter(images), "images.npz", evaluated)
    assert str(refused.value).startswith("images.npz")


def test_what_is_not_known_of_the_data_is_not_held_against_it() -> None:
    images = replace(stored((0, 0.1, FINAL, 0.1)), data_sha256="other")
    check_fits(images, "images.npz", replace(EVALUATED, data_sha256=None, samples=3))
