"""Images that an engine is checked on: made from a seed, because a board has no data set."""

from __future__ import annotations

import numpy as np

from engines.engine import Array

_MOST, _FEWEST = 64, 16
_PIXELS = 2**20


def probe_count(input_shape: tuple[int, int, int]) -> int:
    """Return how many images to check on: 64, and down to 16 where an image is large."""
    return int(np.clip(_PIXELS // np.prod(input_shape), _FEWEST, _MOST))


def probe_images(n: int, input_shape: tuple[int, int, int], seed: int = 0) -> Array:
    """Return images as unlike each other as photographs are: in brightness, contrast, colour and roughness.

    Each is a sum of noise on grids of 1, 2, 4, … cells a side, interpolated linearly, whose strength falls with the
    number of cells by an exponent drawn for the image (as in natural images, whose amplitude falls with frequency:
    Field, "Relations between the statistics of natural images", 1987); then its own contrast and brightness, clipped
    to the range. White noise does not do: all its images look alike to a network, whose scores differ a third as much
    between them, so that a rounding weighs three times as much.

    Args:
        n: how many.
        input_shape: channels, height, width.
        seed: the same seed gives the same images.

    Returns:
        float32, shape (n, channels, height, width), in [0, 1].
    """
    random = np.random.default_rng(seed)
    channels, height, width = input_shape
    images = np.zeros((n, channels, height, width), np.float32)
    falls = random.uniform(0.5, 2.0, (n, 1, 1, 1)).astype(np.float32)
    cells = 1
    while cells < max(2, height, width):
        rows, columns = min(cells, height), min(cells, width)
        gray = random.standard_normal((n, 1, rows, columns), np.float32)
        colour = random.standard_normal((n, channels, rows, columns), np.float32)
        grid: Array = gray + colour / np.float32(2)
        images += _stretched(_stretched(grid, height, 2), width, 3) * np.float32(cells) ** -falls
        cells *= 2
    images -= images.mean((1, 2, 3), keepdims=True)
    images /= np.maximum(images.std((1, 2, 3), keepdims=True), np.float32(1e-6))
    contrast, brightness = random.uniform((0.1, 0.0), (1.0, 1.0), (n, 2)).astype(np.float32).T.reshape(2, n, 1, 1, 1)
    return np.asarray(np.clip(brightness + contrast * images, 0, 1), np.float32)


def _stretched(cells: Array, size: int, axis: int) -> Array:
    """Interpolate linearly along one axis so that the outer cells lie on the outer pixels."""
    last = cells.shape[axis] - 1
    places = np.linspace(0, last, size)
    low = np.floor(places).astype(np.int64)
    shape = [1] * cells.ndim
    shape[axis] = size
    share = (places - low).astype(np.float32).reshape(shape)
    return np.asarray(cells.take(low, axis) * (1 - share) + cells.take(np.minimum(low + 1, last), axis) * share)
