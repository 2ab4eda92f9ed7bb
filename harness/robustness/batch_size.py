"""How many images are attacked at a time: what this machine is fastest with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.data.dataset import Images

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable

CANDIDATES = (32, 64, 125, 250, 500, 1000)
_WORSE = 0.9  # of the best speed: what says that larger batches will not be better again
_LEAST_S = 0.15  # of timing, for one size


def fastest(run: Callable[[Images], object], images: Images, candidates: Sequence[int] = CANDIDATES) -> int:
    """Return the batch size with the most images a second, each timed for a moment after one run unmeasured.

    Sizes are tried from the smallest on, until one is clearly slower than the best or fails: large ones of large images
    fill the memory. Results do not depend on it but by roundings.

    Args:
        run: does the work on a batch.
        images: float32 (n, channels, height, width): some to time with.
        candidates: in rising order.
    """
    best, speed = candidates[0], 0.0
    for size in candidates:
        if size > len(images) and size != candidates[0]:
            break
        batch = np.ascontiguousarray(images[:size])
        try:
            found = _images_per_s(partial(run, batch), len(batch))
        except (MemoryError, RuntimeError):
            if size == candidates[0]:
                raise
            break
        if found > speed:
            best, speed = size, found
        elif found < _WORSE * speed:
            break
    return best


def for_gradients(model: Differentiable, images: Images) -> int:
    """Return the fastest batch size for gradients of a model; arguments as of `fastest`."""
    import torch

    from harness.attacks.losses import cross_entropy

    def run(batch: Images) -> None:
        pixels = torch.from_numpy(batch).to(model.device)
        labels = torch.zeros(len(batch), dtype=torch.int64, device=model.device)
        _, gradient = model.gradient(pixels, partial(cross_entropy, labels=labels))
        gradient.sum().item()  # waits for a GPU

    return fastest(run, images)


def _images_per_s(run: Callable[[], object], count: int) -> float:
    run()
    started, runs = time.perf_counter(), 0
    while runs == 0 or (elapsed := time.perf_counter() - started) < _LEAST_S:
        run()
        runs += 1
    return runs * count / elapsed
