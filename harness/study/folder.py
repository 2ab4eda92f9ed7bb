"""The study's folder: a run folder for every base model and cell, and a card that says what came of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from contracts.files import read_json, write_json

CARD = "cell.json"


@dataclass(frozen=True)
class StudyFolder:
    """Where a study lies.

    Attributes:
        path: the folder; made when something is written.
    """

    path: Path

    def base(self, name: str, seed: int) -> Path:
        """Return a base model's run folder."""
        return self.path / "bases" / f"{name}-seed{seed}"

    def cell(self, name: str) -> Path:
        """Return a cell's run folder."""
        return self.path / "cells" / name

    def card(self, name: str) -> Mapping[str, Any] | None:
        """Return what came of a cell; None where it was not tried, or the card is damaged."""
        path = self.cell(name) / CARD
        try:
            card = read_json(path, "card of the cell") if path.exists() else None
        except InputError:
            return None
        return card if isinstance(card, dict) and {"state", "made_from"} <= card.keys() else None

    def keep(self, name: str, card: Mapping[str, Any]) -> None:
        """Write what came of a cell."""
        self.cell(name).mkdir(parents=True, exist_ok=True)
        write_json(self.cell(name) / CARD, card)

    def relative(self, path: Path) -> str:
        """Return a path as the study's documents name it."""
        return str(path.relative_to(self.path))
