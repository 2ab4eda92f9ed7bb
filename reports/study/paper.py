"""The paper's figure 1 (arXiv 2403.09441), read off by pixel, beside what this study found.

The values are of simulated quantization after adversarial fine-tuning; nothing in the paper ran on an engine.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from reports.study.document import Base, Compression, Setting, State, StudyDocument
from reports.study.rows import Row, by_setting, in_order, rows

PROTOCOL = "paper"

_STATES: tuple[State, ...] = tuple(reversed(get_args(State)))  # the worst first


@dataclass(frozen=True)
class PaperValue:
    """One level of the paper's figure: accuracies as fractions, `sparsity` 0 where not pruned, `bits` 32 in float."""

    compression: Compression
    sparsity: float
    bits: int
    base: Base
    clean: float
    robust: float

    def is_of(self, setting: Setting) -> bool:
        """Say whether the paper did the same; it quantized no pruned model, and ours stand beside its float ones."""
        return self.compression == setting.compression


@dataclass(frozen=True)
class Comparison:
    """The paper's value and ours for one setting.

    Attributes:
        setting: what is compared; of the paper alone, its `quantization` is None.
        paper: the paper's value; None where the paper has none.
        row: ours; None where there is none, for the reason in `state`.
        state: of the cells without an answer to the paper's protocol; None where there is one or no cell is planned.
    """

    setting: Setting
    paper: PaperValue | None
    row: Row | None
    state: State | None

    @property
    def name(self) -> str:
        """How the model was compressed; scales learnt in training are told apart."""
        aware = self.setting.quantization == "quantization-aware"
        return f"{self.setting.compressed} (QAT)" if aware else self.setting.compressed

    @property
    def clean_points(self) -> float | None:
        """Ours minus the paper's, clean, in points of per cent."""
        return 100 * (self.row.clean.mean - self.paper.clean) if self.row and self.paper else None

    @property
    def robust_points(self) -> float | None:
        """Ours minus the paper's under attack, in points of per cent."""
        return 100 * (self.row.robust.mean - self.paper.robust) if self.row and self.paper else None


def paper_values(dataset: str) -> tuple[PaperValue, ...]:
    """Return the paper's values for a data set, in the order of its figure; none where it has none."""
    text = (Path(__file__).parent / "paper_figure1.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(_value(record) for record in csv.DictReader(lines) if record["dataset"] == dataset)


def compared(study: StudyDocument) -> tuple[Comparison, ...]:
    """Return the paper's figure 1 against this study: every level of either, engine and twin each on its own line."""
    papers = {_level(value): value for value in paper_values(study.dataset)}
    table = [row for row in rows(study.cells) if row.protocol == PROTOCOL]
    found: list[Comparison] = []
    for setting, cells in by_setting(study.cells).items():
        if setting.finetune == "adversarial" and setting.compression != "none":
            ours = [row for row in table if row.setting == setting]
            state = next(state for state in _STATES if any(cell.state == state for cell in cells))
            found += [Comparison(setting, papers.get(_level(setting)), row, None) for row in ours]
            found += [] if ours else [Comparison(setting, papers.get(_level(setting)), None, state)]
    planned = {_level(comparison.setting) for comparison in found}
    for level, value in papers.items():
        if level not in planned:
            setting = Setting(value.base, value.compression, value.sparsity, value.bits, None, "adversarial")
            found.append(Comparison(setting, value, None, None))
    return tuple(sorted(found, key=lambda comparison: in_order(comparison.setting)))


def _level(of: PaperValue | Setting) -> tuple[float, int, str]:
    """Return what a setting and the paper's value for it have in common."""
    return round(of.sparsity, 6), 32 if of.sparsity else of.bits, of.base


def _value(record: dict[str, str]) -> PaperValue:
    pruned = record["compression"] == "prune"
    return PaperValue(
        compression="prune" if pruned else "quantize",
        sparsity=float(record["level"]) if pruned else 0.0,
        bits=32 if pruned else int(record["level"].removeprefix("int")),
        base="standard" if record["base_model"] == "standard" else "robust",
        clean=float(record["clean"]),
        robust=float(record["robust"]),
    )
