"""Where a number lies in a document: `robustness[attack=pgd,epsilon=0.05].worst_case`, and conditions on it.

One grammar for gates, queries and plots. Keys are joined by dots; behind a key that holds a list, `[key=value,…]` names
the one entry that is meant. A condition is `ADDRESS OP NUMBER[unit]` with OP one of `>=`, `<=`, `>`, `<`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.errors import InputError, unknown_name

_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PART = re.compile(r"(?P<key>[A-Za-z0-9_-]+)(?:\[(?P<filters>[^\[\]]*)\])?(?:\.(?=.)|$)")
_FILTER = re.compile(r"\s*(?P<key>[A-Za-z0-9_-]+)\s*=\s*(?P<value>[^\[\],=<>\s]+)\s*")
_CONDITION = re.compile(r"(?P<address>[^<>]+?)\s*(?P<operator>>=|<=|>|<)\s*(?P<bound>[^=\s].*)", re.DOTALL)
_BOUND = re.compile(rf"(?P<number>{_NUMBER})\s*(?P<unit>\S*)")
_EXAMPLE = "robustness[attack=pgd,epsilon=0.05].worst_case"
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
# What a key's ending says its number is in, the longest ending first, and the power of ten of each unit in that.
_UNITS: dict[str, dict[str, int]] = {
    "_per_s": {"/s": 0},
    "_per_inference": {"J": 0, "mJ": -3},
    "_bytes": {"B": 0, "kB": 3, "MB": 6, "GB": 9},
    "_ms": {"ms": 0, "us": -3, "s": 3},
    "_s": {"s": 0, "ms": -3},
}
_FRACTION = {"%": -2}


@dataclass(frozen=True)
class Part:
    """One step of an address: a key and, where it holds a list, what its entry must have; filters sorted by key."""

    key: str
    filters: tuple[tuple[str, str | float], ...] = ()

    def __str__(self) -> str:
        inside = ",".join(f"{key}={_text(value)}" for key, value in self.filters)
        return f"{self.key}[{inside}]" if inside else self.key


@dataclass(frozen=True)
class Address:
    """Where a number lies. `str()` gives one spelling for one meaning; `parse_address` reads it back as an equal."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.parts))


@dataclass(frozen=True)
class Found:
    """What an address leads to.

    Attributes:
        value: the number; None where it was not measured.
        object: the object that it is the value of (with its n and interval), else the object that it is a key of.
    """

    value: float | None
    object: Any


@dataclass(frozen=True)
class Condition:
    """A bound on the number at an address, in the unit that its key names."""

    address: Address
    operator: str
    bound: float

    def __str__(self) -> str:
        return f"{self.address} {self.operator} {_text(self.bound)}"

    def decide(self, value: float | None) -> bool | None:
        """Return whether `value` holds the bound; None where it was not measured."""
        return None if value is None else _OPERATORS[self.operator](value, self.bound)


def parse_address(text: str) -> Address:
    """Read an address.

    Raises:
        InputError: it cannot be read; the sentence says from where.
    """
    words, parts, place = text.strip(), [], 0
    while place < len(words):
        found = _PART.match(words, place)
        if found is None:
            break
        parts.append(Part(found["key"], _filters(words, found["filters"])))
        place = found.end()
    if not parts or place < len(words):
        where = f" at {words[place:]!r}" if parts else ""
        raise InputError(f"address {text!r} cannot be read{where}: write it like {_EXAMPLE}")
    return Address(tuple(parts))


def resolve(document: Mapping[str, Any], address: Address) -> Found:
    """Follow an address through a JSON document.

    A list is filtered by the part's `key=value`; without a filter its only entry is taken. What is null or an empty
    list on the way was not measured.

    Args:
        document: the parsed JSON.
        address: where to look.

    Raises:
        InputError: a key or an entry is not there, several entries fit, or the address leads to no number.
    """
    holder: Any = document
    here: Any = document
    for place, part in enumerate(address.parts):
        where = str(Address(address.parts[:place])) or "the document"
        if not isinstance(here, Mapping):
            raise InputError(f"address {address} goes on behind {where}, which is a number or word: end it there")
        if part.key not in here:
            raise unknown_name(f"key of {where}", part.key, here)
        holder, here = here, _entry(here[part.key], part, address)
        if here is None:
            return Found(None, holder)
    if isinstance(here, Mapping):
        if "value" not in here:
            raise InputError(f"address {address} leads to no number: go on with one of {', '.join(here)}")
        holder, here = here, here["value"]
    if here is not None and (isinstance(here, bool) or not isinstance(here, (int, float))):
        raise InputError(f"address {address} leads to {here!r}, which is no number")
    return Found(here, holder)


def parse_condition(text: str) -> Condition:
    """Read a condition, as `latency[batch=1].p99_ms <= 5 ms` or `accuracy.clean >= 80%`.

    Raises:
        InputError: it cannot be read, or its unit is not one of the key's.
    """
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        raise InputError(f"condition {text!r} cannot be read: write ADDRESS OP NUMBER, OP one of >=, <=, > and <")
    address = parse_address(found["address"])
    return Condition(address, found["operator"], _bound(found["bound"], address, text))


def unit_suffix(address: Address) -> str:
    """Return the ending of the address's last key that names a unit (`_ms`, `_bytes`, `_s`, …); `""` for none."""
    key = address.parts[-1].key
    return next((suffix for suffix in _UNITS if key.endswith(suffix)), "")


def _bound(text: str, address: Address, condition: str) -> float:
    """Return the number in the unit of the key. Bounds relative to another result (`+5%`) would be read here."""
    found = _BOUND.fullmatch(text)
    if found is None:
        raise InputError(f"condition {condition!r}: {text!r} is not a number with or without a unit")
    suffix = unit_suffix(address)
    units = _UNITS.get(suffix, _FRACTION)
    if found["unit"] and found["unit"] not in units:
        raise InputError(
            f"condition {condition!r}: {address.parts[-1].key} is not compared in {found['unit']!r}: leave the unit "
            f"out or use {', '.join(units)}"
        )
    bound = _shifted(found["number"], units.get(found["unit"], 0))
    if not math.isfinite(bound):
        raise InputError(f"condition {condition!r}: {text!r} is not a finite number")
    return bound


def _shifted(number: str, power: int) -> float:
    """Return a decimal number times a power of ten, rounded once: 57 % is the 0.57 that it is compared with."""
    mantissa, _, exponent = number.lower().partition("e")
    return float(f"{mantissa}e{int(exponent or 0) + power}")


def _filters(address: str, text: str | None) -> tuple[tuple[str, str | float], ...]:
    if text is None:
        return ()
    read: dict[str, str | float] = {}
    for piece in text.split(","):
        found = _FILTER.fullmatch(piece)
        if found is None:
            raise InputError(f"address {address!r}: filter {piece!r} is not key=value, as in {_EXAMPLE}")
        if found["key"] in read:
            raise InputError(f"address {address!r}: filter {found['key']} is there twice: keep one")
        read[found["key"]] = _value(found["value"])
    return tuple(sorted(read.items()))


def _value(word: str) -> str | float:
    """Return a number where the word is one: `0.050` and `0.05` mean the same."""
    if re.fullmatch(_NUMBER, word) and math.isfinite(float(word)):
        return float(word) + 0.0  # -0 becomes 0
    return word


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _entry(value: Any, part: Part, address: Address) -> Any:
    """Return what a part means of the value under its key: the value itself, or the one entry of a list."""
    if value is None:
        return None
    if not isinstance(value, list):
        if part.filters:
            raise InputError(f"address {address}: {part.key} is no list, so {part} has nothing to choose from")
        return value
    known = list(dict.fromkeys(key for entry in value if isinstance(entry, Mapping) for key in entry))
    for key, _ in part.filters:
        if value and key not in known:
            raise unknown_name(f"filter of {part.key}", key, known)
    fitting = [entry for entry in value if isinstance(entry, Mapping) and _fits(entry, part)]
    if value and not fitting:
        there = "; ".join(",".join(f"{key}={entry.get(key)}" for key, _ in part.filters) for entry in value)
        raise InputError(f"address {address}: no entry of {part.key} is {part}; there are {there}")
    if len(fitting) > 1:
        raise InputError(
            f"address {address} is ambiguous: {len(fitting)} entries of {part.key} fit; tell them apart by "
            f"{_differing(fitting, known) or 'nothing in them, they are equal'}"
        )
    return fitting[0] if fitting else None


def _fits(entry: Mapping[str, Any], part: Part) -> bool:
    return all(_equal(entry.get(key), wanted) for key, wanted in part.filters)


def _equal(value: Any, wanted: str | float) -> bool:
    if isinstance(value, bool) or value is None:
        return wanted == {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (int, float)):
        return not isinstance(wanted, str) and math.isclose(value, wanted, rel_tol=1e-9)
    return isinstance(value, str) and _value(value) == wanted


def _differing(entries: Sequence[Mapping[str, Any]], known: Sequence[str]) -> str:
    """Return the first few keys with plain values that differ between entries, each with its values."""
    told = []
    for key in known:
        values = [entry.get(key) for entry in entries]
        if all(isinstance(value, (str, int, float)) for value in values) and len(set(values)) > 1:
            told.append(f"{key} ({', '.join(dict.fromkeys(map(str, values)))})")
    return ", ".join(told[:3])
