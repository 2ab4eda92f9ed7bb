"""Cells that part ways only after fine-tuning in float have the float model in common: it is trained once."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.study.cell import QUANTIZATION_AWARE, Cell
from harness.study.folder import StudyFolder
from harness.workflow.artifact import is_known

_FLOAT = ("checkpoints/base", "checkpoints/pruned", "checkpoints/finetuned")


def take_over(folder: StudyFolder, cell: Cell, cells: Iterable[Cell]) -> None:
    """Copy the fine-tuned float model of another cell to where this one's is to lie, if there is any.

    The cell's run folder takes it like one of its own: only where settings and weights before it are the same.

    Args:
        folder: of the study.
        cell: which is to be made.
        cells: of the study.
    """
    here = folder.cell(cell.name)
    if is_known(here / _FLOAT[-1]):
        return
    alike = (folder.cell(other.name) for other in cells if _float_model(other) == _float_model(cell) is not None)
    for there in alike:
        if is_known(there / _FLOAT[-1]):
            for path in _FLOAT:
                if is_known(there / path) and not is_known(here / path):
                    _copy(there / path, here / path)
            return


def _float_model(cell: Cell) -> Cell | None:
    """Return what names the float model that a cell fine-tunes; None where it is fine-tuned through quantizers."""
    if cell.quantization == QUANTIZATION_AWARE:
        return None
    return replace(cell, bits=32, quantization=None, strong=False)


def _copy(source: Path, target: Path) -> None:
    staging = target.with_name(f".{target.name}.copied")
    for leftover in (staging, target):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(source, staging)
    staging.replace(target)
