from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from contracts.errors import InputError
from harness.progress import Silent
from harness.workflow.calibration_images import calibration_images, settings, source
from harness.workflow.context import Context
from harness.workflow.settings import check

if TYPE_CHECKING:
    from torch import nn

pytestmark = pytest.mark.core

EPSILON = 0.1
CLASSES = 4


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return a data set of 200 training images, of which the last class has five."""
    random = np.random.default_rng(0)
    labels = np.concatenate([np.arange(195) % (CLASSES - 1), np.full(5, CLASSES - 1)])
    path = tmp_path / "mine.npz"
    np.savez(
        path,
        images=random.random((200, 1, 4, 4), np.float32),
        labels=random.permutation(labels),
        test_images=random.random((20, 1, 4, 4), np.float32),
        test_labels=np.arange(20) % CLASSES,
    )
    return path


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    path = tmp_path / "images of my own.npz"
    np.savez(path, images=np.random.default_rng(1).random((30, 1, 4, 4), np.float32))
    return path


@pytest.fixture
def model() -> nn.Module:
    """Return a linear model, whose worst case is a corner of the ball."""
    pytest.importorskip("torch")
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)).eval()


def context(folder: Path, labelled: Path | None, values: dict[str, Any] | None = None, **data: Any) -> Context:
    """Return a view of an experiment; `values` are sections, `data` is more of the section of that name."""
    path = {} if labelled is None else {"path": str(labelled)}
    sections = {"data": {"name": "npz", **path, **data}, "eval": {"epsilon": EPSILON}, **(values or {})}
    return Context("any", check(sections, "values"), folder, None, Silent(), "harness quantize")


def quantized(data: str) -> dict[str, Any]:
    return {"quantize": {"calibration_data": data}, "attack": {"pgd": {"steps": 3}}}


def test_clean_images_are_of_the_training_split_balanced_and_seeded(tmp_path: Path, labelled: Path) -> None:
    found = context(tmp_path, labelled, calibration_samples=40)
    shown = calibration_images(found, None)
    assert shown.kind == "clean"
    assert shown.images.shape == (40, 1, 4, 4)
    assert shown.images.dtype == np.float32
    train = found.data.train
    np.testing.assert_array_equal(shown.images, train.images[shown.ids])
    assert np.all(np.diff(shown.ids) > 0)
    counts = np.bincount(train.labels[shown.ids], minlength=CLASSES)
    assert counts[CLASSES - 1] == 5, "the small class gives what it has"
    assert sorted(counts[:-1]) == [11, 12, 12]

    np.testing.assert_array_equal(calibration_images(found, None).ids, shown.ids)
    other = calibration_images(context(tmp_path, labelled, {"seed": 1}, calibration_samples=40), None)
    assert other.ids.tolist() != shown.ids.tolist()


def test_no_more_images_than_there_are(tmp_path: Path, labelled: Path, unlabelled: Path) -> None:
    assert len(calibration_images(context(tmp_path, labelled), None).ids) == 200
    assert len(calibration_images(context(tmp_path, labelled, calibration=str(unlabelled)), None).ids) == 30
    some = calibration_images(context(tmp_path, labelled, calibration=str(unlabelled), calibration_samples=7), None)
    assert len(set(some.ids.tolist())) == 7


def test_a_files_images_go_by_its_name_and_their_places_in_it(tmp_path: Path, unlabelled: Path) -> None:
    shown = calibration_images(context(tmp_path, None, calibration=str(unlabelled), calibration_samples=12), None)
    assert shown.kind == "images of my own.npz"
    with np.load(unlabelled) as archive:
        np.testing.assert_array_equal(shown.images, archive["images"][shown.ids])
    assert 0 <= shown.ids.min() < shown.ids.max() < 30


@pytest.mark.parametrize("images", ["adversarial", "mixed"])
def test_attacked_images_lie_in_the_ball_and_raise_the_models_loss(
    tmp_path: Path, labelled: Path, model: nn.Module, images: str
) -> None:
    import torch

    found = context(tmp_path, labelled, quantized(images), calibration_samples=150)  # more than a batch of the attack
    before = found.data.train.images.copy()
    shown = calibration_images(found, model)
    assert shown.kind == images
    np.testing.assert_array_equal(found.data.train.images, before)  # the data set itself stays clean
    clean = before[shown.ids]
    moved = np.abs(shown.images - clean).max((1, 2, 3))
    assert moved.max() <= EPSILON + 1e-6
    assert shown.images.min() >= 0
    assert shown.images.max() <= 1
    turned = moved > 0
    assert turned.tolist() == ([True] * 150 if images == "adversarial" else [True, False] * 75)

    labels = torch.from_numpy(found.data.train.labels[shown.ids][turned])

    def losses(pixels: Any) -> Any:
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(model(torch.from_numpy(pixels)), labels, reduction="none")

    raised = losses(shown.images[turned]) - losses(clean[turned])
    assert (raised > 0).all(), "also of images that are wrong already"
    # Three steps of a tenth of epsilon each: what ranges are to see is the attack at its full length.
    assert moved[turned] == pytest.approx(0.3 * EPSILON, abs=1e-6)


@pytest.mark.parametrize("attack", ["noise", "square", "rays", "apgd-ce", "fab-t"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_whatever_attack_it_is_moves_every_image(
    tmp_path: Path, labelled: Path, model: nn.Module, attack: str, norm: str
) -> None:
    values = {"attack": {"square": {"queries": 5}, "rays": {"queries": 20}, "fab-t": {"steps": 3}}}
    asked = {"attack": attack, "norm": norm, "epsilon": EPSILON}
    found = context(tmp_path, labelled, {**quantized("adversarial"), **values, "eval": asked}, calibration_samples=20)
    shown = calibration_images(found, model)
    change = (shown.images - found.data.train.images[shown.ids]).reshape(20, -1)
    moved = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
    assert moved.max() <= EPSILON + 1e-6
    assert (moved > 0).all()


def test_a_kind_that_is_asked_for_goes_before_the_experiments(tmp_path: Path, labelled: Path) -> None:
    found = context(tmp_path, labelled, quantized("adversarial"), calibration_samples=8)
    shown = calibration_images(found, None, "clean")
    assert shown.kind == "clean"
    np.testing.assert_array_equal(shown.images, found.data.train.images[shown.ids])


def test_settings_hold_the_attack_only_where_there_is_one(tmp_path: Path, labelled: Path) -> None:
    values = {**quantized("mixed"), "seed": 3}
    found = context(tmp_path, labelled, values, calibration_samples=8)
    assert settings(found, "clean") == {"seed": 3, "samples": 8, "data": "clean"}
    attack = settings(found, "mixed")["attack"]
    assert (attack["attack"], attack["norm"], attack["epsilon"]) == ("pgd", "linf", EPSILON)
    assert attack["hyper_parameters"]["steps"] == 3
    assert attack["gradients"] == "auto"


def test_the_source_is_the_file_that_is_named_or_else_the_data_set(
    tmp_path: Path, labelled: Path, unlabelled: Path
) -> None:
    whole = context(tmp_path, labelled)
    assert source(whole).kind == "data set"
    assert source(whole).digest() == whole.data_input.digest() is not None
    named = source(context(tmp_path, labelled, calibration=str(unlabelled)))
    assert named.kind == "calibration images"
    first = named.digest()
    np.savez(unlabelled, images=np.zeros((3, 1, 4, 4), np.float32))
    assert named.digest() not in {None, first}
    unlabelled.unlink()
    assert named.digest() is None


def test_images_of_another_shape_than_the_models_are_refused(tmp_path: Path, labelled: Path, unlabelled: Path) -> None:
    shown = calibration_images(context(tmp_path, labelled), None)
    assert shown.checked([1, 4, 4]) is shown
    with pytest.raises(
        InputError, match=r"calibration images \(clean\) are \(1, 4, 4\) .* the model takes \(3, 4, 4\)"
    ):
        shown.checked((3, 4, 4))
    file = calibration_images(context(tmp_path, None, calibration=str(unlabelled)), None)
    with pytest.raises(InputError, match=r"\(images of my own.npz\) are \(1, 4, 4\) .* the model takes \(1, 5, 4\)"):
        file.checked((1, 5, 4))


@pytest.mark.parametrize(
    ("values", "data", "expected"),
    [
        (quantized("adversarial"), {}, "adversarial needs gradients, and a given ONNX graph has none: use clean"),
        (quantized("mixed"), {}, "mixed needs gradients"),
        (quantized("mixed"), {"calibration": "mine.npy"}, "mixed needs labels, and mine.npy has images alone"),
        ({}, {"calibration": "nowhere.npz"}, "nowhere.npz is no file"),
    ],
)
def test_what_cannot_be_had_is_refused(
    tmp_path: Path, labelled: Path, values: dict[str, Any], data: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        calibration_images(context(tmp_path, labelled, values, **data), None)


def test_without_any_images_both_ways_out_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none are named for given\.onnx.*--calibration.*data\.path"):
        calibration_images(context(tmp_path, None, {"model": {"onnx": "given.onnx"}}), None)
