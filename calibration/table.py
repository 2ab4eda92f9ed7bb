"""The calibration table: the scale of every quantized tensor and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from contracts.files import read_json, write_json


@dataclass(frozen=True)
class TensorScale:
    """The scale of one tensor.

    Attributes:
        scales: one scale, or one per output channel; positive and finite.
        axis: axis that counts the channels; None for one scale.
    """

    scales: tuple[float, ...]
    axis: int | None = None


@dataclass(frozen=True)
class CalibrationTable:
    """Scales by tensor name, and what they rest on.

    Attributes:
        method: the range estimator.
        bits: width of the integers; symmetric, zero point 0.
        sample_ids: indices into the training split of the images that were shown.
        tensors: scale by tensor name.
    """

    method: str
    bits: int
    sample_ids: tuple[int, ...]
    tensors: Mapping[str, TensorScale]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "method": self.method,
            "bits": self.bits,
            "sample_ids": list(self.sample_ids),
            "tensors": {name: asdict(scale) for name, scale in self.tensors.items()},
        }

    def write(self, path: Path) -> None:
        """Write the table as JSON; NaN and infinity are refused."""
        write_json(path, self.to_json())

    @staticmethod
    def read(path: Path) -> CalibrationTable:
        """Read a table.

        Raises:
            InputError: it is not whole, or a scale is not a positive finite number.
        """
        value = read_json(path, "calibration table")
        try:
            tensors = {
                name: TensorScale(tuple(float(scale) for scale in entry["scales"]), entry["axis"])
                for name, entry in value["tensors"].items()
            }
            table = CalibrationTable(value["method"], value["bits"], tuple(value["sample_ids"]), tensors)
            if type(table.bits) is not int:
                raise TypeError(f"bits is {table.bits!r}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is not a calibration table ({error}): make it again") from error
        for name, entry in tensors.items():
            if not entry.scales or not all(0.0 < scale < float("inf") for scale in entry.scales):
                raise InputError(f"{path}: the scale of {name} is not a positive finite number")
        return table
