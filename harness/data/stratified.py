"""A fixed division of labelled images into training and test, each class in proportion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError

Indices = npt.NDArray[np.int64]


def stratified_split(labels: npt.NDArray[np.int64], test_count: int, seed: int) -> tuple[Indices, Indices]:
    """Divide the images into training and test.

    Args:
        labels: int64, shape (n,), non-negative.
        test_count: how many images the test part holds.
        seed: 0 to 2**32 - 1, decides which ones; equal seeds give equal parts under every version of NumPy.

    Returns:
        The sorted indices of the training part and of the test part; together they are 0 to n - 1, each once. Every
        class keeps at least one training image, and its share of the test part is that of the whole, to within one
        image where the classes allow.

    Raises:
        InputError: there are too few images for a test part of this size.
    """
    quotas = _quotas(np.bincount(labels), test_count)
    # RandomState and not default_rng: its stream is frozen, so a board with another NumPy makes the same parts.
    random = np.random.RandomState(seed)
    chosen = [random.permutation(np.flatnonzero(labels == label))[:quota] for label, quota in enumerate(quotas)]
    in_test = np.zeros(len(labels), dtype=bool)
    in_test[np.concatenate(chosen)] = True
    return np.flatnonzero(~in_test).astype(np.int64), np.flatnonzero(in_test).astype(np.int64)


def _quotas(sizes: Indices, test_count: int) -> Indices:
    """Return how many test images each class gives: its exact share rounded by the largest remainders."""
    most = np.maximum(sizes - 1, 0)
    if not 0 < test_count <= most.sum():
        raise InputError(
            f"{sizes.sum()} images are too few for a test part of {test_count}: give a test split yourself"
        )
    share = sizes * test_count / sizes.sum()
    quotas: Indices = np.minimum(np.floor(share).astype(np.int64), most)
    for label in np.argsort(quotas - share, kind="stable"):
        if quotas.sum() == test_count:
            break
        quotas[label] += quotas[label] < most[label]
    # Only where classes of a single image were passed over: the largest classes fill up.
    while quotas.sum() < test_count:
        quotas[np.argmax(most - quotas)] += 1
    return quotas
