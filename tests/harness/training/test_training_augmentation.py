from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from harness.training.augmentation import augmented, shifted


def images_of(count: int, channels: int, height: int, width: int) -> Tensor:
    return torch.arange(1.0, count * channels * height * width + 1).reshape(count, channels, height, width)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_crop_is_a_shift_that_fills_with_zeros(data: st.DataObject) -> None:
    count, channels, height, width = (data.draw(st.integers(1, 4)) for _ in range(4))
    padding = data.draw(st.integers(1, 5))  # wider than the image too
    places = st.lists(st.integers(0, 2 * padding), min_size=count, max_size=count)
    rows, columns = (torch.tensor(data.draw(places)) for _ in range(2))
    images = images_of(count, channels, height, width)
    found = shifted(images, rows, columns, padding)
    for image, down, right, made in zip(images, rows - padding, columns - padding, found, strict=True):
        for y in range(height):
            for x in range(width):
                inside = 0 <= y + down < height and 0 <= x + right < width
                expected = image[:, y + down, x + right] if inside else torch.zeros(channels)
                assert torch.equal(made[:, y, x], expected)


def test_every_shift_is_as_likely_and_an_image_s_own() -> None:
    torch.manual_seed(0)
    image = images_of(1, 1, 3, 3)
    found = augmented(image.expand(2000, 1, 3, 3), flip=False, crop=1)
    windows = [pad(image, [1] * 4)[0, 0, y : y + 3, x : x + 3] for y in range(3) for x in range(3)]
    counts = [sum(torch.equal(made[0], window) for made in found) for window in windows]
    assert sum(counts) == 2000
    assert all(160 < count < 290 for count in counts)  # 222 expected, 4.7 standard deviations either way


def test_flipping_mirrors_half_of_the_images_left_to_right() -> None:
    torch.manual_seed(0)
    images = images_of(400, 2, 3, 4)
    found = augmented(images, flip=True, crop=0)
    kept = (found == images).all(dim=(1, 2, 3))
    assert torch.equal(found[~kept], images[~kept].flip(3))
    assert 150 < int(kept.sum()) < 250


def test_without_augmentation_images_stay_and_nothing_is_drawn() -> None:
    images = images_of(2, 1, 3, 3)
    before = torch.get_rng_state()
    assert augmented(images, flip=False, crop=0) is images
    assert torch.equal(torch.get_rng_state(), before)


def test_crops_keep_the_memory_format_of_training() -> None:
    images = images_of(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert augmented(images, flip=True, crop=2).is_contiguous(memory_format=torch.channels_last)
