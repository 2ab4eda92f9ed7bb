"""Frozen dataclasses whose fields are the settings of one section of the experiment file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from contracts.errors import InputError, nearest

Settings = TypeVar("Settings")


def from_section(kind: type[Settings], values: Mapping[str, Any], section: str) -> Settings:
    """Return a dataclass made from the values of a section.

    Args:
        kind: a dataclass; every field has a default.
        values: what the section says.
        section: its name, for sentences.

    Raises:
        InputError: unknown key, or a value of the wrong type or out of range.
    """
    from pydantic import TypeAdapter, ValidationError

    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            names = f" known: {', '.join(known)}" if known else " it has none"
            raise InputError(f"{section} has no setting {key!r}{nearest(key, known) or ';'}{names}")
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        address = ".".join([section, *map(str, first["loc"])])
        raise InputError(f"{address}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r}") from error
