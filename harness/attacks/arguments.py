"""What attacks refuse to begin with; of NumPy arrays and torch tensors alike, without importing torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from contracts.errors import InputError


def check(images: Any, labels: Any, image_ids: Any, seed: int, *, tensors: bool = False) -> None:
    """Refuse images, labels, ids and seeds that cannot be attacked with.

    Args:
        images: a NumPy array or a torch tensor, as all of these.
        labels: one an image.
        image_ids: one an image, or None.
        seed: of all random draws.
        tensors: refuse NumPy arrays.

    Raises:
        InputError: another type or shape, images outside [0, 1] or not finite, labels below 0 or not one an image, ids
            below 0 or not one an image, a seed below 0.
    """
    kinds = {isinstance(one, np.ndarray) for one in (images, labels, image_ids) if one is not None}
    if len(kinds) > 1:
        raise InputError("attacks take images, labels and image_ids that are all NumPy arrays or all torch tensors")
    if tensors and kinds == {True}:
        raise InputError("attacks along gradients take torch tensors, got NumPy arrays: use torch.from_numpy")
    if images.ndim != 4 or _dtype(images) != "float32":
        raise InputError(
            f"attacks take float32 images of shape (n, channels, height, width), got {_dtype(images)} "
            f"{tuple(images.shape)}"
        )
    for name, given in (("labels", labels), ("image_ids", image_ids)):
        if given is not None:
            _check_one_an_image(name, given, len(images))
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    if 0 in images.shape:
        return
    low, high = images.min().item(), images.max().item()
    if not (low >= 0.0 and high <= 1.0):  # not finite fails too
        raise InputError(
            f"attacks take images in [0, 1], got {low:g} to {high:g}: put the normalisation into the model"
        )


def check_scores(labels: Any, scores: tuple[int, ...]) -> None:
    """Refuse scores that decide about nothing, and labels that there is no score for.

    Args:
        labels: int64, shape (n,), at least one.
        scores: the shape of a model's scores of some images.

    Raises:
        InputError: scores of another shape than (m, two or more), or a label that is not below their number.
    """
    if len(scores) != 2 or scores[1] < 2:
        raise InputError(f"attacks take models that give scores of shape (n, two classes or more), got {scores}")
    if int(labels.max()) >= scores[1]:
        raise InputError(
            f"labels must be below {scores[1]}, the number of scores, got {int(labels.max())}: number them as the "
            "model's scores are"
        )


def _check_one_an_image(name: str, given: Any, images: int) -> None:
    if tuple(given.shape) != (images,) or _dtype(given) != "int64":
        raise InputError(
            f"attacks take int64 {name}, one an image, here {images}, got {_dtype(given)} {tuple(given.shape)}"
        )
    if images > 0 and int(given.min()) < 0:
        raise InputError(f"{name} must be at least 0, got {int(given.min())}")


def _dtype(given: Any) -> str:
    return str(given.dtype).removeprefix("torch.")
