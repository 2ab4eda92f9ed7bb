"""Random numbers that depend on a seed, an image's id and their own place, and on nothing else.

A generator hands out numbers in the order in which it is asked, so that results would depend on how images are batched
and on which of them are still attacked. These are hashes instead: of a counter, by SplitMix64 (Steele et al. 2014,
"Fast splittable pseudorandom number generators"), for all images of a batch at once, the same on every machine (normal
numbers up to the roundings of its sines and logarithms).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_GOLDEN = 0x9E3779B97F4A7C15
_CHUNK = 1 << 16  # hashes at a time: what fits a core's cache


def uniform(seed: int, image_ids: Array, stream: int, shape: tuple[int, ...]) -> Array:
    """Return uniform numbers in [0, 1), float32, shape (n, *shape).

    Args:
        seed: at least 0.
        image_ids: int64, shape (n,).
        stream: tells several draws for one image apart: the restart, the step, what it is for; at least 0.
        shape: of one image's numbers.
    """
    words = _words(seed, image_ids, stream, math.prod(shape))
    numbers: Array = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return numbers.reshape(len(image_ids), *shape)


def signs(seed: int, image_ids: Array, stream: int, shape: tuple[int, ...]) -> Array:
    """Return -1 or 1, each as likely, float32, shape (n, *shape); arguments as of `uniform`."""
    words = _words(seed, image_ids, stream, math.prod(shape))
    numbers: Array = (words >> np.uint64(63)).astype(np.float32) * np.float32(2) - np.float32(1)
    return numbers.reshape(len(image_ids), *shape)


def normal(seed: int, image_ids: Array, stream: int, shape: tuple[int, ...]) -> Array:
    """Return standard normal numbers, float32, shape (n, *shape), by Box and Muller; arguments as of `uniform`."""
    size = math.prod(shape)
    half = (size + 1) // 2
    both = uniform(seed, image_ids, stream, (2, half))
    radius = np.sqrt(np.float32(-2) * np.log1p(-both[:, 0]))
    angle = np.float32(2 * math.pi) * both[:, 1]
    pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return np.ascontiguousarray(pairs[:, :size]).reshape(len(image_ids), *shape)


def _words(seed: int, image_ids: Array, stream: int, count: int) -> Array:
    """Return `count` 64-bit words for each image, uint64, shape (n, count)."""
    with np.errstate(over="ignore"):
        key = _mixed(np.asarray(image_ids).astype(np.uint64) + _mixed(np.uint64(seed) + np.uint64(_GOLDEN)))
        key = _mixed(key + np.uint64(stream + 1) * np.uint64(_GOLDEN))
        words = np.empty((len(key), count), np.uint64)
        for start in range(0, count, _CHUNK):
            counter = np.arange(start + 1, min(start + _CHUNK, count) + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
            words[:, start : start + _CHUNK] = _mixed(key[:, None] + counter)
    return words


def _mixed(word: Any) -> Any:
    """Return SplitMix64's finaliser of words: every bit of the input turns each bit of the output half of the time."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
