"""A cell of the grid, and the grid as a list of cells in the order in which they are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from contracts.errors import InputError
from reports.study.document import Quantized

ENGINE_FORMATS = ("fp32", "fp16", "int8")
"""Number formats that engines compute in; the others are simulated by the twin."""

POST_TRAINING: Final[Quantized] = "post-training"
QUANTIZATION_AWARE: Final[Quantized] = "quantization-aware"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model of the study.

    Attributes:
        base: name of the base model: standard or robust.
        sparsity: share of channels that are pruned; 0 for none.
        bits: width of weights and activations.
        quantization: post-training or quantization-aware; None for floating point of that width.
        finetune: name of the fine-tuning: none, standard or adversarial.
        seed: of everything.
        strong: whether the strong protocol judges it too.
    """

    base: str
    sparsity: float = 0.0
    bits: int = 32
    quantization: str | None = None
    finetune: str = "adversarial"
    seed: int = 0
    strong: bool = False

    @property
    def number_format(self) -> str:
        """What it computes in: fp32, int8, int4, …."""
        return f"{'fp' if self.quantization is None else 'int'}{self.bits}"

    @property
    def on_engine(self) -> bool:
        """Whether an engine of this number format exists, so that the cell is judged and measured there."""
        return self.number_format in ENGINE_FORMATS

    @property
    def compression(self) -> str:
        """What was done to the base model: none, prune, quantize, or both with a + between them."""
        done = [name for name, given in (("prune", self.sparsity), ("quantize", self.quantization)) if given]
        return "+".join(done) or "none"

    @property
    def levels(self) -> tuple[str, ...]:
        """The compression levels by which a study is cut: the sparsity, the number format."""
        pruned = (f"{self.sparsity:g}",) if self.sparsity else ()
        return (*pruned, self.number_format) if self.quantization or not pruned else pruned

    @property
    def name(self) -> str:
        """The cell's place; equal names are equal cells."""
        pruned = [f"pruned-{self.sparsity:g}"] if self.sparsity else []
        after = ["post-training"] if self.quantization == POST_TRAINING and self.finetune != "none" else []
        return "-".join([self.base, *pruned, self.number_format, *after, self.finetune, f"seed{self.seed}"])


def grid(groups: Sequence[Mapping[str, Sequence[Any]]]) -> list[Cell]:
    """Return the cells of all groups, each the product of its lists, in order; what came before is not repeated.

    The seed turns slowest: after the first seed of a group there is something to look at. A cell of several groups is
    judged by the strong protocol where one of them says so.

    Raises:
        InputError: a group gives no list for what has no default.
    """
    found: dict[str, Cell] = {}
    for cell in (cell for group in groups for cell in _product(group)):
        known = found.setdefault(cell.name, cell)
        found[cell.name] = replace(known, strong=known.strong or cell.strong)
    return list(found.values())


def cut(cells: Sequence[Cell], seeds: int | None, levels: Sequence[str]) -> list[Cell]:
    """Return the cells of the first so many seeds and of these levels; all where nothing is said.

    Raises:
        InputError: no cell has such a level.
    """
    known = {level for cell in cells for level in cell.levels}
    if unknown := [level for level in levels if level not in known]:
        raise InputError(f"the study has no level {unknown[0]}: its levels are {', '.join(sorted(known))}")
    kept = sorted({cell.seed for cell in cells})[:seeds]
    return [cell for cell in cells if cell.seed in kept and (not levels or set(cell.levels) & set(levels))]


def _product(group: Mapping[str, Sequence[Any]]) -> Iterator[Cell]:
    strong = group.get("strong_seeds", ())
    names = ["seed", *(name for name in group if name not in ("seed", "strong_seeds"))]
    for values in product(*(group.get(name, (0,)) for name in names)):
        chosen = dict(zip(names, values, strict=True))
        if chosen["finetune"] == "none" and chosen.get("quantization") == QUANTIZATION_AWARE:
            continue  # nothing is aware of anything where nothing is trained
        yield Cell(**chosen, strong=chosen["seed"] in strong)
