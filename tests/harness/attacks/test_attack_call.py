"""What an attack says about arguments that cannot be."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from contracts.errors import InputError
from harness.attacks.attack import Attack, BlackBox
from harness.attacks.registry import NAMES, attack
from tests.harness.attacks.linear_models import SHAPE, linear, pixels

MODEL = linear(SHAPE)
IMAGES, LABELS = pixels(4), torch.tensor([0, 1, 2, 0])


def outside(value: float) -> Tensor:
    """Return images of which one pixel has this value."""
    images = IMAGES.clone()
    images[2, 1, 0, 3] = value
    return images


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "label too large": ({"labels": torch.tensor([0, 1, 3, 0])}, "labels must be below 3, the number of scores, got 3"),
    "label negative": ({"labels": torch.tensor([0, -1, 2, 0])}, "labels must be at least 0, got -1"),
    "labels of another type": ({"labels": LABELS.int()}, "int64 labels, one an image, here 4, got int32 (4,)"),
    "labels are scores": ({"labels": LABELS.float()}, "int64 labels, one an image, here 4, got float32 (4,)"),
    "a label too few": ({"labels": LABELS[:3]}, "int64 labels, one an image, here 4, got int64 (3,)"),
    "labels one-hot": ({"labels": torch.eye(4).long()}, "int64 labels, one an image, here 4, got int64 (4, 4)"),
    "above one": ({"images": outside(1.5)}, "images in [0, 1], got 0 to 1.5: put the normalisation into the model"),
    "below zero": ({"images": outside(-0.25)}, "images in [0, 1], got -0.25 to 1: put"),
    "8-bit values": ({"images": 255 * IMAGES}, "images in [0, 1], got 0 to 255: put"),
    "not a number": ({"images": outside(math.nan)}, "images in [0, 1], got nan to nan"),
    "infinite": ({"images": outside(math.inf)}, "images in [0, 1], got 0 to inf"),
    "float64": ({"images": IMAGES.double()}, "float32 images of shape (n, channels, height, width), got float64"),
    "float16": ({"images": IMAGES.half()}, "float32 images of shape (n, channels, height, width), got float16"),
    "uint8": ({"images": IMAGES.byte()}, "float32 images of shape (n, channels, height, width), got uint8"),
    "flat images": ({"images": IMAGES.flatten(1)}, "(n, channels, height, width), got float32 (4, 24)"),
    "one image": ({"images": IMAGES[0]}, "(n, channels, height, width), got float32 (2, 3, 4)"),
    "unknown norm": ({"norm": "l1"}, "norm 'l1' is not known: use linf or l2"),
    "epsilon zero": ({"epsilon": 0.0}, "epsilon must be finite and above 0, got 0.0"),
    "epsilon negative": ({"epsilon": -0.1}, "epsilon must be finite and above 0, got -0.1"),
    "epsilon not a number": ({"epsilon": math.nan}, "epsilon must be finite and above 0, got nan"),
    "epsilon infinite": ({"epsilon": math.inf}, "epsilon must be finite and above 0, got inf"),
    "epsilon in levels": ({"epsilon": 8}, "write 0.03137 (8/255)"),
    "ids of another type": ({"image_ids": torch.rand(4)}, "int64 image_ids, one an image, here 4, got float32 (4,)"),
    "an id too many": ({"image_ids": torch.arange(5)}, "int64 image_ids, one an image, here 4, got int64 (5,)"),
    "id negative": ({"image_ids": torch.arange(4) - 2}, "image_ids must be at least 0, got -2"),
    "seed negative": ({"seed": -1}, "seed must be at least 0, got -1"),
}


def call(name: str, target: Any, **changes: Any) -> Any:
    given = {"images": IMAGES, "labels": LABELS, "epsilon": 0.1, **changes}
    return attack(name, {})(target, given.pop("images"), given.pop("labels"), **given)


def refused(name: str, target: Any, words: str, **changes: Any) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        call(name, target, **changes)
    assert "\n" not in str(caught.value)


def scores(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        found: np.ndarray[Any, Any] = MODEL(torch.from_numpy(images)).numpy()
    return found


BLACK_BOXES = tuple(name for name in NAMES if isinstance(attack(name, {}), BlackBox))
GRADIENTS = tuple(name for name in NAMES if isinstance(attack(name, {}), Attack))


def test_every_attack_is_of_one_kind() -> None:
    assert set(BLACK_BOXES) | set(GRADIENTS) == set(NAMES)
    assert not set(BLACK_BOXES) & set(GRADIENTS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", BAD)
def test_of_tensors(name: str, case: str) -> None:
    changes, words = BAD[case]
    refused(name, MODEL, words, **changes)


@pytest.mark.parametrize("name", BLACK_BOXES)
@pytest.mark.parametrize("case", BAD)
def test_of_numpy_arrays(name: str, case: str) -> None:
    changes, words = BAD[case]
    given = {"images": IMAGES, "labels": LABELS, **changes}
    arrays = {key: value.numpy() if isinstance(value, Tensor) else value for key, value in given.items()}
    refused(name, scores, words, **arrays)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_which_numpy_does_not_have(name: str) -> None:
    refused(name, MODEL, "got bfloat16 (4, 2, 3, 4)", images=IMAGES.bfloat16())


@pytest.mark.parametrize("name", NAMES)
def test_arrays_and_tensors_mixed(name: str) -> None:
    refused(name, MODEL, "all NumPy arrays or all torch tensors", labels=LABELS.numpy())
    refused(name, MODEL, "all NumPy arrays or all torch tensors", images=IMAGES.numpy())


@pytest.mark.parametrize("name", GRADIENTS)
def test_numpy_arrays_for_an_attack_along_gradients(name: str) -> None:
    refused(name, MODEL, "take torch tensors, got NumPy arrays", images=IMAGES.numpy(), labels=LABELS.numpy())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3, 1)])
def test_scores_that_decide_about_nothing(name: str, shape: tuple[int, ...]) -> None:
    words = "scores of shape (n, two classes or more), got ("
    zeros = torch.zeros(shape, requires_grad=True)
    refused(name, lambda images: zeros[: len(images)] + 0 * images.sum(), words, labels=0 * LABELS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, *SHAPE), (2, 3, 0, 4)])
def test_an_empty_batch_stays_empty(name: str, shape: tuple[int, ...]) -> None:
    images, labels = torch.empty(shape), torch.zeros(shape[0], dtype=torch.int64)
    found = call(name, MODEL, images=images, labels=labels)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert found is not images
    if name in BLACK_BOXES:
        array = call(name, scores, images=images.numpy(), labels=labels.numpy())
        assert array.shape == images.shape
        assert array.dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
def test_images_whose_gradient_is_asked_for_are_taken_as_they_are(name: str) -> None:
    found = call(name, MODEL, images=IMAGES.clone().requires_grad_())
    assert not found.requires_grad
    assert torch.equal(found, call(name, MODEL))


@pytest.mark.parametrize("name", BLACK_BOXES)
def test_arrays_and_tensors_are_attacked_alike(name: str) -> None:
    array = call(name, scores, images=IMAGES.numpy(), labels=LABELS.numpy())
    assert isinstance(array, np.ndarray)
    assert torch.equal(torch.from_numpy(array), call(name, MODEL))


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_the_rows_where_none_are_given(name: str) -> None:
    assert torch.equal(call(name, MODEL), call(name, MODEL, image_ids=torch.arange(4), seed=0, norm="linf"))


@pytest.mark.parametrize("name", NAMES)
def test_attacks_do_not_touch_torch_s_generator(name: str) -> None:
    before = torch.get_rng_state()
    call(name, MODEL)
    assert torch.equal(torch.get_rng_state(), before)
