"""From batches of images to a scale for every activation: any runtime that can show its activations will do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from calibration.grid import largest_integer
from calibration.observers import Observer, observer
from calibration.rules import Place
from contracts.errors import InputError

Batch = TypeVar("Batch")
See = Callable[[str, Any], None]
"""Is shown one activation of one batch: its name, and an array or tensor of any shape."""

Shape = tuple[int, ...]
"""A tensor's shape, 0 where it depends on the batch."""


def observed_scales(
    run: Callable[[Batch, See], None],
    batches: Iterable[Batch],
    places: Sequence[Place],
    calibrator: str,
    bits: int = 8,
) -> dict[str, float]:
    """Return the scale of every activation among the places, from what observers see while the batches run.

    One activation of one batch is looked at at a time; nothing is kept but the observers' counts.

    Args:
        run: runs a batch through the float model and shows its activations, at least those of the places.
        batches: images.
        places: where the graph is quantized.
        calibrator: one of `calibration.observers.CALIBRATORS`.
        bits: width of the integers.

    Raises:
        InputError: unknown calibrator, no batch, or activations that are not finite, with the layer's name.
    """
    observers: dict[str, Observer] = {}
    for place in places:
        if place.axis is None and place.tensor not in observers:
            label = f"{place.tensor} (input of {place.operation})"
            observers[place.tensor] = observer(calibrator, label, bits)

    def see(name: str, values: Any) -> None:
        if name in observers:
            observers[name].see(values)

    empty = True
    for batch in batches:
        run(batch, see)
        empty = False
    if empty:
        raise InputError("there are no calibration images: set data.calibration_samples above 0")
    return {name: found.range() / largest_integer(bits) for name, found in observers.items()}
