"""The study file: which experiment, which base models and fine-tunings, which cells."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, model_validator

from contracts.errors import InputError, unknown_name
from harness.study.cell import QUANTIZATION_AWARE, Cell, grid
from harness.workflow.setting_types import AtLeastOne, Section, among
from harness.workflow.settings import check, read_toml, resolve, validated
from reports.study.document import Base, Finetune, Quantized

Values = dict[str, Any]

_FLOATING = (16, 32)
_NOT_TUNED = "none"
_TUNED = tuple(name for name in get_args(Finetune) if name != _NOT_TUNED)
_UNUSED = Path("unused")  # what is only checked is written nowhere and reads no weights

_Seed = Annotated[int, Field(ge=0, strict=True)]


class Group(Section):
    """Cells that are the product of lists."""

    base: tuple[str, ...]
    sparsity: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], ...] = (0.0,)
    bits: tuple[Annotated[int, Field(ge=1, le=32)], ...] = (32,)
    quantization: tuple[Annotated[str, among("quantization", get_args(Quantized))] | None, ...] = (None,)
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
        settings: of every base model and cell, by section.
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
    bases: dict[Annotated[str, among("base model", get_args(Base))], Values]
    finetunes: dict[Annotated[str, among("fine-tuning", _TUNED)], Values]
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
            if cell.finetune not in (_NOT_TUNED, *self.finetunes):
                raise unknown_name("fine-tuning of a cell", cell.finetune, (_NOT_TUNED, *self.finetunes))
            if cell.quantization is None and cell.bits not in _FLOATING:
                raise InputError(f"cells of {cell.bits} bits need a quantization: {' or '.join(get_args(Quantized))}")
        names = [cell.name for cell in self.grid()]
        for name in self.features:
            if name not in names:
                raise unknown_name("cell in features", name, names)
        return self

    @model_validator(mode="after")
    def _experiments_are_sound(self) -> Plan:
        for where, values in _parts(self):
            check(values, where)
        for cell in self.grid():
            _check_cell(self, cell)
        return self

    @cached_property
    def values(self) -> Values:
        """The experiment with the study's settings over it, by section."""
        experiment = resolve(self.experiment, _UNUSED, ()).experiment
        return _merged(experiment.model_dump(mode="json", exclude_none=True), self.settings)

    def grid(self) -> list[Cell]:
        """Return all cells, the most telling first."""
        return grid([group.model_dump() for group in self.cells])


def built_in() -> tuple[str, ...]:
    """Return the names of the studies that ship with the harness."""
    folder = resources.files("harness.study") / "studies"
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


def read_plan(name: str) -> Plan:
    """Return a built-in study, or one from a TOML file, with the experiment of every cell checked.

    Raises:
        InputError: there is no such study, a setting is unknown or out of range, or a cell cannot be.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in built_in():
            raise unknown_name("study", name, (*built_in(), "FILE.toml"))
        path = Path(str(resources.files("harness.study") / "studies" / f"{name}.toml"))
    return validated(Plan, read_toml(path), str(path))


def base_values(plan: Plan, base: str, seed: int) -> Values:
    """Return the experiment that trains a base model."""
    return _merged(plan.values, {"seed": seed, "train": plan.bases[base]})


def cell_values(plan: Plan, cell: Cell, weights: Path) -> Values:
    """Return a cell's experiment under the paper's protocol.

    Args:
        plan: the study.
        cell: one of its cells.
        weights: the base model's.
    """
    values = _merged(plan.values, {"seed": cell.seed, "model": {"checkpoint": str(weights)}})
    pruning = {**plan.pruning, "sparsity": cell.sparsity} if cell.sparsity else {"method": "none"}
    values = _merged(values, {"prune": pruning})
    if cell.quantization:
        values = _merged(values, {"quantize": {"bits": cell.bits}})
    if cell.quantization != QUANTIZATION_AWARE:
        values["order"] = ["prune", "finetune", "quantize"]
    tuning = {"method": "none"} if cell.finetune == _NOT_TUNED else plan.finetunes[cell.finetune]
    precision = cell.number_format if cell.on_engine else "int8"
    values = _merged(values, {"finetune": tuning, "build": {"precision": [precision]}})
    for special in plan.specials:
        if special.holds(cell):
            values = _merged(values, special.settings)
    return values


def strong_values(plan: Plan, values: Values) -> Values:
    """Return a cell's experiment under the strong protocol."""
    return _merged(values, {**plan.strong, "eval": {**plan.strong.get("eval", {}), "samples": plan.strong_samples}})


def _parts(plan: Plan) -> Iterator[tuple[str, Values]]:
    """Yield what the study file says by its own sections, so that a wrong setting is named by where it stands."""
    yield "settings", plan.values
    for name in plan.bases:
        yield f"bases.{name}", base_values(plan, name, 0)
    for name, tuning in plan.finetunes.items():
        yield f"finetunes.{name}", _merged(plan.values, {"finetune": tuning})
    yield "pruning", _merged(plan.values, {"prune": plan.pruning})
    yield "strong", strong_values(plan, plan.values)
    for place, special in enumerate(plan.specials):
        yield f"specials.{place}", _merged(plan.values, special.settings)


def _check_cell(plan: Plan, cell: Cell) -> None:
    """Refuse a cell whose experiment cannot be, or makes something else than the cell's name says.

    Raises:
        InputError: in one sentence with the cell's name.
    """
    where = f"cell {cell.name}"
    values = cell_values(plan, cell, _UNUSED)
    experiment = check(values, where)
    if cell.strong:
        check(strong_values(plan, values), f"{where}, strong protocol")
    if len(experiment.build.backend) > 1:
        raise InputError(
            f"{where}: a study has one backend, so that its cells can be compared, and build.backend names "
            f"{', '.join(experiment.build.backend)}: keep one, and make a study for each other one"
        )
    if cell.sparsity and experiment.prune.target != "channels":
        raise InputError(
            f"{where}: a study's sparsities are shares of channels, and prune.target is {experiment.prune.target}: "
            "leave it out"
        )
    if experiment.sparsity != cell.sparsity:
        raise InputError(
            f"{where}: its settings prune {experiment.sparsity:g} of the channels and not {cell.sparsity:g}: name a "
            "method in [pruning], and leave prune.sparsity to the cells"
        )


def _merged(values: Values, more: Values) -> Values:
    """Return values with others put over them, section by section."""
    found = dict(values)
    for key, value in more.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found
