"""Adversarial images as the page shows them: clean, adversarial and their difference, within a budget of bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.png import png_uri
from reports.store import AdversarialImages

MOST = 8
_LONGEST_SIDE_PX = 128


@dataclass(frozen=True)
class Picture:
    """One image before and after the attack.

    Attributes:
        clean: `data:` URI of the image.
        adversarial: `data:` URI of the attacked image.
        difference: `data:` URI of adversarial minus clean, times `factor`, with no change at mid-grey.
        factor: what the difference is multiplied by, with two digits.
        largest_change: largest absolute difference of a value, in [0, 1].
        label: the true class.
        clean_decision: the engine's class for the clean image.
        adversarial_decision: the engine's class for the attacked image.
        fooled: whether the decision is right before and wrong after the attack.
        turned_by: the arm and the attack that turned it; None where that is not known.
    """

    clean: str
    adversarial: str
    difference: str
    factor: float
    largest_change: float
    label: str
    clean_decision: str
    adversarial_decision: str
    fooled: bool
    turned_by: str | None


def pictures(images: AdversarialImages, budget_bytes: int) -> tuple[Picture, ...]:
    """Return the first images, at most `MOST`, whose encodings fit into `budget_bytes` together."""
    shown: list[Picture] = []
    for index in range(min(MOST, len(images.labels))):
        picture = _picture(images, index)
        budget_bytes -= len(picture.clean) + len(picture.adversarial) + len(picture.difference)
        if budget_bytes < 0:
            break
        shown.append(picture)
    return tuple(shown)


def _picture(images: AdversarialImages, index: int) -> Picture:
    clean, adversarial = _thinned(images.clean[index]), _thinned(images.adversarial[index])
    change = adversarial - clean
    largest = float(np.abs(images.adversarial[index] - images.clean[index]).max(initial=0.0))
    factor = _factor(largest)
    label, before, after = (
        int(array[index]) for array in (images.labels, images.clean_decisions, images.adversarial_decisions)
    )
    return Picture(
        clean=png_uri(clean),
        adversarial=png_uri(adversarial),
        difference=png_uri(0.5 + factor * change),
        factor=factor,
        largest_change=largest,
        label=_class_name(images.class_names, label),
        clean_decision=_class_name(images.class_names, before),
        adversarial_decision=_class_name(images.class_names, after),
        fooled=before == label != after,
        turned_by=(images.turned_by[index] or None) if images.turned_by else None,
    )


def _factor(largest: float) -> float:
    """Return the largest number of two digits that keeps a change of `largest` within the range, 1 for no change."""
    if largest <= 0:
        return 1.0
    # An epsilon of 0.05 is a little more in float32: its factor is 10 all the same. Below a millionth is rounding.
    full = min(0.5 / largest * (1 + 1e-5), 5e5)
    unit = 10.0 ** (math.floor(math.log10(full)) - 1)
    return math.floor(full / unit) * unit


def _thinned(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep every k-th pixel of a large image: averaging would wash out the very change that the picture is about."""
    step = max(1, -(-max(image.shape[1:]) // _LONGEST_SIDE_PX))
    return image[:, ::step, ::step]


def _class_name(names: tuple[str, ...], number: int) -> str:
    if number < 0:
        return "none: scores not finite"
    return names[number] if 0 <= number < len(names) else f"class {number}"
