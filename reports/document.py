"""The result document, schema version 1: what one engine was measured to be.

Every quantity carries its unit in its name. What could not be measured is `None` with a reason beside it, never 0 and
never left out. Rates (accuracies) are fractions in [0, 1].
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import InputError
from contracts.files import read_json

SCHEMA_VERSION: Final = 1

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A part of the document: immutable; unknown keys are kept out, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Subject(Part):
    """What was measured."""

    experiment: str
    model: str
    dataset: str
    backend: str
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


class Rate(Part):
    """A share of n images with its 95 % Wilson interval."""

    value: Fraction
    n: Count
    ci95: tuple[Fraction, Fraction]


class Flips(Part):
    """Decisions of the engine against those of the float model on the same clean images."""

    against: str
    to_wrong: Count
    to_right: Count
    changed: Count


class Accuracy(Part):
    """Accuracy on clean images; `reference` is the float model's."""

    clean: Rate | None
    reference: Rate | None
    flips: Flips | None
    reason: str | None = None


class Arm(Rate):
    """One arm of the robustness protocol: robust accuracy by this arm alone, and what it cost."""

    unique_wins: Count
    queries: Count
    seconds: float


class Robustness(Part):
    """Robust accuracy of the engine under one attack, as the worst case over its arms for every image."""

    attack: str
    norm: str
    epsilon: float
    settings: dict[str, float | int | bool | str]
    worst_case: Rate
    arms: dict[str, Arm]
    warnings: tuple[str, ...]


class LayerPrecision(Part):
    """One layer that multiplies: what it runs in, and its multiply-accumulates for one image.

    `quantized` says whether the graph quantizes all that the layer multiplies; if not, it was meant to run in float.
    """

    name: str
    operator: str
    precision: str
    macs: Count
    quantized: bool


class Precision(Part):
    """What the engine's layers run in where it was built, and the share of the multiply-accumulates that is INT8."""

    int8_mac_share: Fraction | None
    layers: tuple[LayerPrecision, ...]
    source: str
    reason: str | None = None


class TensorForm(Part):
    """A tensor as a layer of the engine reads or writes it."""

    name: str
    datatype: str
    format: str


class EngineLayer(Part):
    """One of the engine's own layers, which may be many nodes of the graph; `time_ms` of one inference."""

    name: str
    kind: str
    precision: str
    inputs: tuple[TensorForm, ...]
    outputs: tuple[TensorForm, ...]
    onnx_nodes: tuple[str, ...]
    tactic: str | None
    time_ms: float | None


class Layers(Part):
    """What the engine is made of, as its runtime tells where it was built.

    `layer_share` is the share of the layers by what they compute in; `reformat_count` are layers that only bring a
    tensor into another type or layout, `reformat_time_share` their share of the time of all.
    """

    layers: tuple[EngineLayer, ...]
    layer_share: dict[str, Fraction]
    reformat_count: Count
    reformat_time_share: Fraction | None


class Agreement(Part):
    """The engine's scores against its graph's, on images made for that; `error` and `limit` in their spreads."""

    images: Count
    changed_decisions: Count | None
    error: float | None
    limit: float | None
    changed_limit: Count | None
    reference: str
    reason: str | None = None


class RowConsistency(Part):
    """The same image in every row of a batch: rows that are not exactly equal, the largest distance, and its limit."""

    rows: Count
    images: Count
    unequal: Count
    largest: float
    limit: float


class BatchConsistency(Part):
    """Images one at a time and in batches."""

    batch: Count
    images: Count
    changed_decisions: Count
    largest: float
    limit: float


class RebuildSpread(Part):
    """Engines built several times from one graph."""

    builds: Count
    images: Count
    differing_decisions: Count
    largest: float
    limit: float
    files_differ: bool


class Checks(Part):
    """How the engine stood against its graph where it was built; distances are over the spread of the scores."""

    agreement: Agreement
    rows: RowConsistency | None
    batches: BatchConsistency | None
    rebuilds: RebuildSpread | None = None


class Quantization(Part):
    """Where an INT8 engine's scales come from; `keep_float` are the layers that were left out of it on purpose."""

    calibrator: str
    bits: Count
    images: str
    samples: Count
    keep_float: tuple[str, ...]


class Spans(Part):
    """Where a query's time goes on a GPU, as trtexec defines it: medians by its events and of the enqueue call."""

    h2d_ms: float
    compute_ms: float
    d2h_ms: float
    enqueue_ms: float


class Latency(Part):
    """Times of one query of `batch` images. A percentile that n does not carry is None."""

    batch: Count
    n: Count
    threads: Count
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_ms: float
    throughput_per_s: float
    valid: bool
    reasons: tuple[str, ...]
    cuda_graph: bool = False
    spans: Spans | None = None


class Memory(Part):
    """Sizes in bytes; host and device are never added."""

    engine_bytes: Count
    weights_bytes: Count
    device_peak_bytes: Count | None
    process_peak_bytes: Count | None
    baseline_bytes: Count | None
    reasons: tuple[str, ...] = ()


class Energy(Part):
    """Energy of one image's inference."""

    joules_per_inference: float | None
    source: str | None
    rails: dict[str, float] | None
    reason: str | None


class DeviceState(Part):
    """The device's state around the measurement."""

    before: dict[str, float | str | None]
    after: dict[str, float | str | None]
    valid: bool | None
    reasons: tuple[str, ...]


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
