"""The calibration table: the scale of every quantized tensor and where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calibration.ranges import Shape
from calibration.rules import Place
from contracts.errors import InputError
from contracts.files import read_json, sha256_json, write_json

DIGEST = "digest"

BY_CHANNEL = "channel maximum"
"""The method of weights."""


@dataclass(frozen=True)
class TensorScale:
    """The scale of one tensor.

    Attributes:
        scales: one scale, or one per output channel; positive and finite.
        axis: axis that counts the channels; None for one scale.
        method: what estimated the range.
        shape: of the tensor, 0 where it depends on the batch.
    """

    scales: tuple[float, ...]
    axis: int | None
    method: str
    shape: Shape


@dataclass(frozen=True)
class CalibrationTable:
    """Scales by tensor name, and what they rest on.

    Attributes:
        method: the activations' range estimator.
        bits: width of the integers; symmetric, zero point 0.
        images: what was shown: "clean", "adversarial", "mixed" or the name of a file.
        sample_ids: indices of the images that were shown, into the training split or the file.
        keep_float: names of the operations that are not quantized.
        graph: digest of the places that the table was made for, as `places_digest` gives it.
        tensors: scale by tensor name.
    """

    method: str
    bits: int
    images: str
    sample_ids: tuple[int, ...]
    keep_float: tuple[str, ...]
    graph: str
    tensors: Mapping[str, TensorScale]

    def check_belongs(self, shapes: Mapping[str, Shape], graph: str) -> None:
        """Refuse a graph that the table was not made for.

        Args:
            shapes: of every tensor that the graph quantizes.
            graph: its `places_digest`.

        Raises:
            InputError: naming the first tensor that differs.
        """
        known = {name: entry.shape for name, entry in self.tensors.items()}
        different = [name for name in sorted(shapes.keys() | known.keys()) if shapes.get(name) != known.get(name)]
        if different or graph != self.graph:
            where = different[0] if different else "the operations that read their tensors"
            raise InputError(
                f"the calibration table does not belong to this graph: they differ in {where}; calibrate again"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with a digest over everything else in it."""
        value = {**asdict(self), "tensors": {name: asdict(entry) for name, entry in self.tensors.items()}}
        return {**value, DIGEST: sha256_json(value)}

    def write(self, path: Path) -> None:
        """Write the table as JSON; NaN and infinity are refused."""
        write_json(path, self.to_json())

    @staticmethod
    def read(path: Path) -> CalibrationTable:
        """Read a table.

        Raises:
            InputError: it is not whole, its digest differs, or a scale is not a positive finite number.
        """
        value = read_json(path, "calibration table")
        try:
            digest = value.pop(DIGEST)
            table = _from_json(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is not a calibration table ({error}): make it again") from error
        for name, entry in table.tensors.items():
            if not entry.scales or not all(0.0 < scale < float("inf") for scale in entry.scales):
                raise InputError(f"{path}: the scale of {name} is not a positive finite number")
        if digest != sha256_json(value):
            raise InputError(f"{path} was altered (its digest differs): make it again with 'harness quantize --again'")
        return table


def places_digest(places: Sequence[Place], shape: Callable[[str], Shape]) -> str:
    """Return a digest of where a graph is quantized: operators, inputs, tensors and their shapes."""
    return sha256_json([[*asdict(place).values(), list(shape(place.tensor))] for place in places])


def _from_json(value: Mapping[str, Any]) -> CalibrationTable:
    tensors = {
        name: TensorScale(
            scales=tuple(float(scale) for scale in entry["scales"]),
            axis=entry["axis"],
            method=entry["method"],
            shape=tuple(entry["shape"]),
        )
        for name, entry in value["tensors"].items()
    }
    sequences = {key: tuple(value[key]) for key in ("sample_ids", "keep_float")}
    table = CalibrationTable(**{**value, **sequences, "tensors": tensors})
    if type(table.bits) is not int:
        raise TypeError(f"bits is {table.bits!r}")
    return table
