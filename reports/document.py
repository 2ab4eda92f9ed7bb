"""The result document, schema version 1: what one engine was measured to be.

Every quantity carries its unit in its name. What could not be measured is `None` with a reason beside it, never 0 and
never left out. Rates (accuracies) are fractions in [0, 1].
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from contracts.errors import InputError
from contracts.files import read_json
from reports.engine_parts import Checks, Layers, Precision, Quantization
from reports.measured_parts import Against, DeviceState, Energy, Latency, Memory
from reports.part import Count, Fraction, Part
from reports.robustness_parts import Rate, Robustness

SCHEMA_VERSION: Final = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Subject(Part):
    """What was measured."""

    experiment: str
    model: str
    dataset: str
    backend: str
    backend_version: str | None = None
    precision: str
    sparsity: Fraction
    seed: int
    parameters: Count | None
    macs: Count | None
    classes: Count
    input_shape: tuple[int, int, int]


class Link(Part):
    """One artifact of the lineage; parents are SHA-256 digests."""

    kind: str
    sha256: Sha256
    bytes: Count
    parents: tuple[str, ...]


class Environment(Part):
    """Where it ran."""

    python: str
    platform: str
    packages: dict[str, str]
    cpu: str
    gpu: str | None
    driver: str | None
    jetpack: str | None
    cores: Count | None = None
    board: str | None = None
    simulated: bool = False


class Flips(Part):
    """Decisions of the engine against those of the float model on the same clean images."""

    against: str
    to_wrong: Count
    to_right: Count
    changed: Count


class Repeatability(Part):
    """Whether the engine decides alike when the same clean images are asked again, elsewhere, in other batches.

    `changed_by_*` are images whose decision differed in some run, at some place in a batch, at some batch size;
    `largest_difference` is that of any score, over the spread of the scores. With `votes` above 1 the engine wavers,
    and every decision of the evaluation is the majority of so many runs. A `fault` (`stale`: scores of an earlier
    question; `overwritten`: scores that change after they were returned) makes every number doubtful.
    """

    images: Count
    runs: Count
    changed_by_run: Count
    changed_by_position: Count
    changed_by_batch: Count
    largest_difference: float
    votes: Count
    fault: str | None = None


class Accuracy(Part):
    """Accuracy on clean images; `reference` is the float model's."""

    clean: Rate | None
    reference: Rate | None
    flips: Flips | None
    reason: str | None = None
    repeatability: Repeatability | None = None


class ResultDocument(Part):
    """Everything that is known of one engine on one device."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    device_id: str
    created: datetime
    harness_version: str
    command: str
    subject: Subject
    lineage: tuple[Link, ...]
    environment: Environment
    precision: Precision | None = None
    quantization: Quantization | None = None
    layers: Layers | None = None
    checks: Checks | None = None
    accuracy: Accuracy
    robustness: tuple[Robustness, ...]
    robustness_reason: str | None = None
    latency: tuple[Latency, ...]
    latency_reason: str | None = None
    against: tuple[Against, ...] = ()
    memory: Memory
    energy: Energy
    device: DeviceState
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the document as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"


def read_document(path: Path) -> ResultDocument:
    """Read and check a `result.json`.

    Raises:
        InputError: the file is truncated, foreign, or of a newer schema than this version reads.
    """
    value = read_json(path, "result document")
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path} is not a result document: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version} and this harness reads up to {SCHEMA_VERSION}: upgrade it with "
            "'pip install -U edge-robustness-harness'"
        )
    try:
        return ResultDocument.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is not a result document: {where}: {first['msg']}") from error
