"""The kinds of values that an experiment file knows: each says what it accepts and refuses the rest in a sentence."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from calibration.observers import CALIBRATORS
from contracts.errors import InputError, unknown_name
from engines import registry as backends
from engines.backend import PRECISIONS, Precision
from harness.attacks import registry as attacks
from harness.data import registry as data_sets
from harness.robustness.arms import ARMS


class Section(BaseModel):
    """A section of the file: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _listed_unless_auto(value: Any) -> Any:
    return value if value == "auto" else _listed(value)


def _in_order(value: Any) -> Any:
    return value if value == "auto" else tuple(sorted(set(value)))


def among(kind: str, known: tuple[str, ...]) -> BeforeValidator:
    """Return a validator of names: an unknown one is refused with the nearest known one."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value not in known:
            raise unknown_name(kind, value, known)
        return value

    return BeforeValidator(check)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise InputError("an empty list where at least one value is asked for")
    return tuple(dict.fromkeys(values))


_LISTED, _DISTINCT = BeforeValidator(_listed), AfterValidator(_distinct)


def _data_set(name: str) -> str:
    if ":" not in name:  # a user's own is found when its images are wanted: a board that measures has no need of them
        data_sets.check_name(name)
    return name


DataSetName = Annotated[str, AfterValidator(_data_set)]

# Strict: true is no number, and "5" is a string.
Epsilon = Annotated[float, Field(gt=0.0, le=1.0, strict=True)]
Positive = Annotated[float, Field(gt=0.0, strict=True)]
NotNegative = Annotated[float, Field(ge=0.0, strict=True)]
AtLeastOne = Annotated[int, Field(ge=1, strict=True)]
Fraction = Annotated[float, Field(gt=0.0, lt=1.0, strict=True)]
FromZero = Annotated[int, Field(ge=0, strict=True)]
Calibrator = Annotated[str, among("calibrator", CALIBRATORS)]
Backends = Annotated[tuple[Annotated[str, among("backend", (*backends.NAMES, backends.AUTO))], ...], _LISTED, _DISTINCT]
Precisions = Annotated[tuple[Annotated[Precision, among("precision", PRECISIONS)], ...], _LISTED, _DISTINCT]
Attacks = Annotated[tuple[Annotated[str, among("attack", (*attacks.NAMES, *attacks.SETS))], ...], _LISTED, _DISTINCT]
Epsilons = Annotated[tuple[Positive, ...], _LISTED, _DISTINCT]
Arms = Annotated[
    tuple[Annotated[str, among("arm", ARMS)], ...],
    _LISTED,
    _DISTINCT,
    AfterValidator(lambda arms: tuple(sorted(arms, key=ARMS.index))),  # they run in this order whatever was asked
]
KeepFloat = Annotated[
    Literal["auto"] | tuple[str, ...], BeforeValidator(_listed_unless_auto), AfterValidator(_in_order)
]
Names = Annotated[tuple[str, ...], _LISTED, AfterValidator(_in_order)]
Batches = Annotated[tuple[AtLeastOne, ...], _LISTED, _DISTINCT]

ORDERS = (("prune", "quantize", "finetune"), ("prune", "finetune", "quantize"), ("finetune", "prune", "quantize"))
"""Ranges are found after pruning: those of before would be of channels that are gone."""


def _order(value: Any) -> Any:
    names = tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else tuple(value)
    if names not in ORDERS:
        known = "; ".join(", ".join(order) for order in ORDERS)
        raise InputError(f"order is one of: {known}; got {', '.join(map(str, names))}")
    return names


Order = Annotated[tuple[str, ...], BeforeValidator(_order)]
