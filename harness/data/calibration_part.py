"""Which training images calibrate the quantizers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError


def calibration_indices(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw training images, from every class as evenly as the labels allow.

    Args:
        labels: int64, shape (n,), the training split's labels.
        count: how many images to draw, 1 to n.
        seed: 0 to 2**32 - 1, decides which ones; equal seeds give equal draws under every version of NumPy.

    Returns:
        int64, shape (count,): sorted, distinct indices into the training split. Classes differ by at most one image,
        except those that have no more to give.

    Raises:
        InputError: `count` is not within 1 to n.
    """
    if not 1 <= count <= len(labels):
        raise InputError(
            f"{count} calibration images cannot be drawn from the {len(labels)} of the training split: "
            f"ask for 1 to {len(labels)}"
        )
    # RandomState and not default_rng: its stream is frozen, so a board with another NumPy draws the same images.
    random = np.random.RandomState(seed)
    groups = [np.flatnonzero(labels == label) for label in random.permutation(np.unique(labels))]
    # The smallest first: what it cannot give is shared among those that follow.
    groups.sort(key=len)
    drawn = []
    wanted = count
    for position, group in enumerate(groups):
        share = min(len(group), wanted // (len(groups) - position))
        drawn.append(random.permutation(group)[:share])
        wanted -= share
    return np.sort(np.concatenate(drawn)).astype(np.int64)
