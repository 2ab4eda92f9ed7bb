"""Points of a two-dimensional embedding of the features (t-SNE), as a study stores them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from contracts.errors import InputError
from contracts.files import read_json
from reports.part import Count

Coordinate = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class FeaturePanel:
    """One model's embedding: `points` are (x, y, class), the classes counted from 0."""

    title: str
    classes: tuple[str, ...]
    points: tuple[tuple[Coordinate, Coordinate, Count], ...]


@dataclass(frozen=True)
class _Panels:
    panels: tuple[FeaturePanel, ...]


def read_features(path: Path) -> tuple[FeaturePanel, ...]:
    """Read the panels of a file of t-SNE points.

    Raises:
        InputError: the file is missing, truncated or foreign, or a point is of a class without a name.
    """
    try:
        panels = TypeAdapter(_Panels).validate_python(read_json(path, "file of t-SNE points")).panels
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} holds no t-SNE points: {place}: {first['msg']}") from error
    for panel in panels:
        unnamed = {label for _, _, label in panel.points if label >= len(panel.classes)}
        if unnamed:
            raise InputError(f"{path}: panel {panel.title!r} has points of class {min(unnamed)}, which has no name")
    return panels
