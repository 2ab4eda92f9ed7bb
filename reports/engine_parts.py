"""The parts of the result document that say what the engine is, as it was found where it was built."""

from __future__ import annotations

from reports.part import Count, Fraction, Part


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
    tensor into another type or layout, `reformat_time_share` their share of the time of all. `batch` is the batch size
    whose kernels these are, where that makes a difference.
    """

    layers: tuple[EngineLayer, ...]
    layer_share: dict[str, Fraction]
    reformat_count: Count
    reformat_time_share: Fraction | None
    batch: Count | None = None


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
