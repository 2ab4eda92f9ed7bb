"""The study document, schema version 1: a grid of compressed models, what each was measured to be.

Rates are fractions in [0, 1]; a quantity's address ends in its unit. What could not be measured is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from contracts.errors import InputError, unknown_name
from contracts.files import read_json
from reports.address import Address, parse_address
from reports.part import Count, Fraction
from reports.robustness_parts import Rate

SCHEMA_VERSION: Final = 1
COUNTS: Final = ("parameters", "macs", "finetune_passes")
"""What is known of a cell's model itself, before it is built into an engine."""

Base = Literal["standard", "robust"]
Compression = Literal["none", "prune", "quantize", "prune+quantize"]
Quantized = Literal["post-training", "quantization-aware"]
Finetune = Literal["none", "standard", "adversarial"]
On = Literal["engine", "twin"]
State = Literal["finished", "missing", "failed"]
FINETUNED: Final[Mapping[Finetune, str]] = {
    "none": "not fine-tuned",
    "standard": "fine-tuned on clean images",
    "adversarial": "fine-tuned adversarially",
}
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Setting:
    """What makes a cell but for its seed; ordered as tables are.

    `sparsity` is 0 where nothing was pruned; `bits` is the width of floating point, 32 or 16, where nothing was
    quantized.
    """

    base: Base
    compression: Compression
    sparsity: float
    bits: int
    quantization: Quantized | None
    finetune: Finetune

    @property
    def compressed(self) -> str:
        """How it was compressed, as `pruned 80 %, int8`; of floating point, the width where it is not 32."""
        pruned = [f"pruned {100 * self.sparsity:.4g} %"] if "prune" in self.compression else []
        return ", ".join(pruned + [self.number_format] * (self.number_format != "fp32")) or "uncompressed"

    @property
    def number_format(self) -> str:
        """What it computes in: fp32, fp16, int8, …."""
        return f"{'int' if 'quantize' in self.compression else 'fp'}{self.bits}"

    @property
    def name(self) -> str:
        """The whole setting in words."""
        how = f" ({self.quantization})" if self.quantization else ""
        return f"{self.base} model, {self.compressed}{how}, {FINETUNED[self.finetune]}"


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on clean and on attacked images; `on` says whether an engine answered or its simulation, the twin.

    Attributes:
        protocol: `paper` or `strong`.
        attack: name of the attack.
        norm: what epsilon is measured in.
        epsilon: its size, images being in [0, 1].
        on: what was attacked.
        target: which engine or twin, as `openvino-int8`.
        clean: accuracy on clean images.
        robust: accuracy under the attack.
        result: path of the result document, relative to the study's folder; None where there is none.
    """

    protocol: str
    attack: str
    norm: str
    epsilon: Finite
    on: On
    target: str
    clean: Rate
    robust: Rate
    result: str | None = None


@dataclass(frozen=True)
class Cell:
    """One model of the grid with one seed.

    Attributes:
        id: its name in the study.
        base: what it started from.
        compression: what was done to it.
        sparsity: share of channels pruned, 0 if not pruned.
        bits: of weights and activations; the width of floating point, 32 or 16, if not quantized.
        quantization: how it was quantized; None if not.
        finetune: what it was fine-tuned on after that.
        seed: of everything random in it.
        parameters: how many weights are left; None where unknown.
        macs: multiply-accumulates of one image; None where unknown.
        finetune_passes: gradient passes an image of fine-tuning; None where there was none.
        evaluations: accuracies, by protocol and target.
        result: path of the result document with latency and memory, relative to the study's folder.
        quantities: numbers by address (its own spelling: `str(parse_address(text))`); None where not measured, or
            measured while the device was in no state for it.
        doubts: why latencies are not valid, a sentence each; such latencies are None.
        warnings: what the trainings of the model and of its base warned of, a sentence each.
        state: whether it ran.
        reason: why it is missing or failed, as a sentence.
    """

    id: str
    base: Base
    compression: Compression
    sparsity: Fraction
    bits: Annotated[int, Field(ge=1, le=32)]
    quantization: Quantized | None
    finetune: Finetune
    seed: int
    parameters: Count | None = None
    macs: Count | None = None
    finetune_passes: Finite | None = None
    evaluations: tuple[Evaluation, ...] = ()
    result: str | None = None
    quantities: Mapping[str, Finite | None] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    state: State = "finished"
    reason: str | None = None

    @property
    def setting(self) -> Setting:
        """What the cell is but for its seed."""
        return Setting(self.base, self.compression, self.sparsity, self.bits, self.quantization, self.finetune)

    @property
    def numbers(self) -> dict[str, float | None]:
        """The quantities by the one spelling of their addresses, with `parameters`, `macs` and `finetune_passes`."""
        counts: dict[str, float | None] = {name: getattr(self, name) for name in COUNTS}
        return {**counts, **{str(parse_address(text)): value for text, value in self.quantities.items()}}


@dataclass(frozen=True)
class StudyDocument:
    """Everything that is known of a study; `features` is the path of t-SNE points, relative to the study's folder."""

    created: datetime
    harness_version: str
    command: str
    environment: Mapping[str, Any]
    dataset: str
    cells: tuple[Cell, ...]
    features: str | None = None
    schema_version: Literal[1] = SCHEMA_VERSION

    @classmethod
    def from_json(cls, value: Any, where: str = "study.json") -> StudyDocument:
        """Read the parsed JSON; `where` names it in sentences.

        Raises:
            InputError: it is no study document, of a newer schema, or a quantity's address cannot be read.
        """
        version = value.get("schema_version") if isinstance(value, Mapping) else None
        if not isinstance(version, int):
            raise InputError(f"{where} is not a study document: it has no schema_version")
        if version > SCHEMA_VERSION:
            raise InputError(
                f"{where} has schema version {version} and this harness reads up to {SCHEMA_VERSION}: upgrade it with "
                "'pip install -U edge-robustness-harness'"
            )
        try:
            study = TypeAdapter(cls).validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{where} is not a study document: {place}: {first['msg']}") from error
        for cell in study.cells:
            for address in cell.quantities:
                parse_address(address)
        return study

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON values, `schema_version` first."""
        values: dict[str, Any] = TypeAdapter(StudyDocument).dump_python(self, mode="json")
        return {"schema_version": values.pop("schema_version"), **values}


def read_study(path: Path) -> StudyDocument:
    """Read and check a `study.json`.

    Raises:
        InputError: the file is missing, truncated, foreign or of a newer schema than this version reads.
    """
    return StudyDocument.from_json(read_json(path, "study document"), str(path))


def known_addresses(cells: Iterable[Cell]) -> tuple[Address, ...]:
    """Return every address that some cell has a number at, in the order in which they are met."""
    spellings = dict.fromkeys(text for cell in cells for text, value in cell.numbers.items() if value is not None)
    return tuple(map(parse_address, spellings))


def check_known(addresses: Iterable[Address], cells: Iterable[Cell]) -> None:
    """Refuse an address that no cell speaks of.

    Raises:
        InputError: with the nearest address that there is.
    """
    known = {text for cell in cells for text in cell.numbers}
    for address in addresses:
        if str(address) not in known:
            raise unknown_name("quantity", str(address), known)
