"""The study file: which experiment, which base models and fine-tunings, which cells."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from contracts.errors import InputError, unknown_name
from harness.study.cell import POST_TRAINING, QUANTIZATION_AWARE, Cell, grid
from harness.workflow.setting_types import AtLeastOne, Section, among
from harness.workflow.settings import check, read_toml, resolve, validated

FILE = "study.toml"

Values = dict[str, Any]

_FLOATING = (16, 32)

_Seed = Annotated[int, Field(ge=0, strict=True)]


class Group(Section):
    """Cells that are the product of lists."""

    base: tuple[str, ...]
    sparsity: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], ...] = (0.0,)
    bits: tuple[Annotated[int, Field(ge=1, le=32)], ...] = (32,)
    quantization: tuple[Annotated[str, among("quantization", (POST_TRAINING, QUANTIZATION_AWARE))] | None, ...] = (
        None,
    )
    finetune: tuple[str, ...] = ("adversarial",)
    seed: tuple[_Seed, ...] = (0,)
    strong_seeds: tuple[_Seed, ...] = ()


class Special(Section):
    """Settings of the cells that have these values."""

    base: str | None = None
    sparsity_from: float = 0.0
    bits: int | None = None
    finetune: str | None = None
    settings: Values

    def holds(self, cell: Cell) -> bool:
        """Say whether a cell has these values."""
        given = {name: value for name in ("base", "bits", "finetune") if (value := getattr(self, name)) is not None}
        return cell.sparsity >= self.sparsity_from and all(
            getattr(cell, name) == value for name, value in given.items()
        )


class Plan(Section):
    """A study.

    Attributes:
        experiment: a built-in name or a TOML file: data, model, everything that no cell changes.
        settings: of every cell, by section.
        pruning: settings of `[prune]` for pruned cells, without the sparsity.
        bases: settings of `[train]` of the standard and of the robust base model.
        finetunes: settings of `[finetune]` of standard and of adversarial fine-tuning.
        strong: settings of `[eval]` and `[attack.*]` of the strong protocol.
        specials: settings for some cells alone, later ones win.
        features: names of cells whose features are drawn.
        cells: groups of cells, the most telling first.
    """

    experiment: str
    settings: Values = Field(default={})
    pruning: Values = Field(default={"method": "l1"})
    bases: dict[Annotated[str, among("base model", ("standard", "robust"))], Values]
    finetunes: dict[Annotated[str, among("fine-tuning", ("standard", "adversarial"))], Values]
    strong: Values
    strong_samples: AtLeastOne = 200
    specials: tuple[Special, ...] = ()
    features: tuple[str, ...] = ()
    cells: tuple[Group, ...]

    @model_validator(mode="after")
    def _names_are_known(self) -> Plan:
        for cell in self.grid():
            if cell.base not in self.bases:
                raise unknown_name("base model of a cell", cell.base, tuple(self.bases))
            if cell.finetune != "none" and cell.finetune not in self.finetunes:
                raise unknown_name("fine-tuning of a cell", cell.finetune, ("none", *self.finetunes))
            if cell.quantization is None and cell.bits not in _FLOATING:
                raise InputError(
                    f"cells of {cell.bits} bits need a quantization: {POST_TRAINING} or {QUANTIZATION_AWARE}"
                )
        names = [cell.name for cell in self.grid()]
        for name in self.features:
            if name not in names:
                raise unknown_name("cell in features", name, names)
        return self

    def grid(self) -> list[Cell]:
        """Return all cells, the most telling first."""
        return grid([group.model_dump() for group in self.cells])


def built_in() -> tuple[str, ...]:
    """Return the names of the studies that ship with the harness."""
    folder = resources.files("harness.study") / "studies"
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


def read_plan(name: str) -> Plan:
    """Return a built-in study, or one from a TOML file.

    Raises:
        InputError: there is no such study, or a setting is unknown or out of range.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in built_in():
            raise unknown_name("study", name, (*built_in(), "FILE.toml"))
        path = Path(str(resources.files("harness.study") / "studies" / f"{name}.toml"))
    return validated(Plan, read_toml(path), str(path))


def base_values(plan: Plan, base: str, seed: int) -> Values:
    """Return the experiment that trains a base model."""
    values = _experiment(plan)
    return _merged(values, {"seed": seed, "train": plan.bases[base]})


def cell_values(plan: Plan, cell: Cell, weights: Path) -> Values:
    """Return a cell's experiment under the paper's protocol.

    Args:
        plan: the study.
        cell: one of its cells.
        weights: the base model's.
    """
    values = _merged(_experiment(plan), plan.settings)
    values = _merged(values, {"seed": cell.seed, "model": {"checkpoint": str(weights)}})
    if cell.sparsity:
        values = _merged(values, {"prune": {**plan.pruning, "sparsity": cell.sparsity}})
    if cell.quantization:
        values = _merged(values, {"quantize": {"bits": cell.bits}})
    if cell.quantization != QUANTIZATION_AWARE:
        values["order"] = ["prune", "finetune", "quantize"]
    tuning = {"method": "none"} if cell.finetune == "none" else plan.finetunes[cell.finetune]
    precision = cell.number_format if cell.on_engine else "int8"
    values = _merged(values, {"finetune": tuning, "build": {"precision": [precision]}})
    for special in plan.specials:
        if special.holds(cell):
            values = _merged(values, special.settings)
    check(values, f"cell {cell.name}")
    return values


def strong_values(plan: Plan, values: Values) -> Values:
    """Return a cell's experiment under the strong protocol."""
    return _merged(values, {**plan.strong, "eval": {**plan.strong.get("eval", {}), "samples": plan.strong_samples}})


def _experiment(plan: Plan) -> Values:
    experiment = resolve(plan.experiment, Path("unused"), ()).experiment
    return experiment.model_dump(mode="json", exclude_none=True)


def _merged(values: Values, more: Values) -> Values:
    """Return values with others put over them, section by section."""
    found = dict(values)
    for key, value in more.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found
