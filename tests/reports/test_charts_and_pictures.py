from __future__ import annotations

import base64
import dataclasses
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reports import wording
from reports.charts import latency_figure, left_out
from reports.pictures import pictures
from reports.png import png
from reports.store import AdversarialImages

pytestmark = pytest.mark.core


def test_with_a_far_outlier_the_slowest_thousandth_is_left_out_of_the_picture_and_counted() -> None:
    times = np.append(np.linspace(1.0, 2.0, 4999), 400.0)
    assert left_out(times) == 5
    figure = latency_figure(times, {"p50": 1.5, "p99": None})
    assert sum(figure["data"][0]["y"]) == 4995
    assert max(figure["data"][0]["x"]) < 2.1
    assert [mark["text"] for mark in figure["layout"]["annotations"]] == ["p50"]


@pytest.mark.parametrize("times", [np.array([0.7]), np.full(100, 0.7)])
def test_equal_times_make_a_chart(times: NDArray[np.float64]) -> None:
    figure = latency_figure(times, {"p50": 0.7, "p99": 0.7})
    assert sum(figure["data"][0]["y"]) == times.size
    assert left_out(times) == 0


def decode(data: bytes) -> tuple[int, int, int, NDArray[np.uint8]]:
    """Return width, height, colour type and the pixels (H, W, channels) of a PNG that uses no filter."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        place += length + 12
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return width, height, colour, rows[:, 1:].reshape(height, width, -1)


@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (3, 2), (4, 0)])
def test_a_png_holds_the_pixels(channels: int, colour: int) -> None:
    image = np.random.default_rng(1).random((channels, 5, 7), dtype=np.float32)
    width, height, kind, pixels = decode(png(image))
    assert (width, height, kind) == (7, 5, colour)
    expected = image if channels in {1, 3} else image.mean(axis=0, keepdims=True)
    assert np.array_equal(pixels, np.rint(expected.transpose(1, 2, 0) * 255).astype(np.uint8))


def images(change: float) -> AdversarialImages:
    clean = np.full((2, 1, 4, 4), 0.5, np.float32)
    adversarial = clean.copy()
    adversarial[0, 0, 0, 0] += change
    adversarial[0, 0, 3, 3] -= change
    return AdversarialImages(
        clean, adversarial, np.array([0, 1]), np.array([0, 1]), np.array([1, 1]), ("a cat", "a dog")
    )


@pytest.mark.parametrize(("change", "factor", "told"), [(0.03, 16, "16"), (0.05, 10, "10"), (0.004, 120, "120")])
def test_the_difference_is_multiplied_by_a_factor_that_is_told(change: float, factor: int, told: str) -> None:
    first, second = pictures(images(change), 10**6)
    assert first.factor == pytest.approx(factor)
    assert wording.factor(first.factor) == told
    _, _, _, pixels = decode(base64.b64decode(first.difference.removeprefix("data:image/png;base64,")))
    assert pixels[0, 0, 0] == round(255 * (0.5 + factor * change))
    assert pixels[3, 3, 0] == round(255 * (0.5 - factor * change))
    assert pixels[1, 1, 0] == 128
    assert first.largest_change == pytest.approx(change, rel=1e-5)
    assert (first.label, first.adversarial_decision, first.fooled) == ("a cat", "a dog", True)
    assert (second.largest_change, second.factor) == (0, 1)
    assert not second.fooled


def test_scores_that_are_not_finite_are_no_class() -> None:
    undecided = dataclasses.replace(images(0.1), adversarial_decisions=np.array([-1, -1]))
    assert pictures(undecided, 10**6)[0].adversarial_decision == "none: scores not finite"


def test_no_more_pictures_than_the_budget_holds() -> None:
    assert len(pictures(images(0.1), 10**6)) == 2
    assert pictures(images(0.1), 100) == ()
    many = images(0.1)
    names = ("clean", "adversarial", "labels", "clean_decisions", "adversarial_decisions")
    ten: dict[str, Any] = {name: np.repeat(getattr(many, name), 5, axis=0) for name in names}
    assert len(pictures(dataclasses.replace(many, **ten), 10**6)) == 8


@pytest.mark.parametrize("change", [0.5, 1e-9, 1e-40, 0.0371])
def test_a_scaled_difference_stays_within_the_range(change: float) -> None:
    found = images(0.0)
    clean = np.zeros_like(found.clean)
    adversarial = clean.copy()
    adversarial[0, 0, 0, 0] = change
    first = pictures(dataclasses.replace(found, clean=clean, adversarial=adversarial), 10**6)[0]
    assert first.factor * change <= 0.50001
    assert np.isfinite(first.factor)
