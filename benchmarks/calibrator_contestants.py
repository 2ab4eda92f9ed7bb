"""Who takes part in `calibrators.py`: ours by both ways, and the peers, each with what it makes of one float graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import calibrator_peers as peers
from calibration.graphs.float_graph import FloatGraph
from calibration.graphs.insert import insert

if TYPE_CHECKING:
    import onnx
    from torch import nn

TWIN, ONNX, SEARCH = "ours, torch twin", "ours, ONNX", "ORT calibrator"
GEMM_FLOAT = "ours, Gemm in float"
OURS = (TWIN, ONNX, GEMM_FLOAT)

_BATCH = 64
_STATIC = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
_MODELOPT = {"minmax": "max", "entropy": "entropy"}


@dataclass(frozen=True)
class Made:
    """An INT8 graph and what it took.

    Attributes:
        graph: explicit Q/DQ.
        ranges_s: from the images to the ranges, the network's own time included; None where it is not told apart.
        graph_s: from the float graph and the images to the INT8 graph; None where it is not made that way.
        export_s: from the calibrated torch model to the INT8 graph; ONNX's part of it is also in every float graph.
    """

    graph: onnx.ModelProto
    ranges_s: float | None = None
    graph_s: float | None = None
    export_s: float | None = None


@dataclass
class Row:
    """One contestant of one method."""

    method: str
    who: str
    make: Callable[[], Made]
    made: list[Made] = field(default_factory=list)
    clean: float = 0.0
    flipped: Any = None

    @property
    def flips(self) -> int:
        """How many images the graph decides differently from the float graph."""
        return int(self.flipped.sum())

    def times(self, which: str) -> list[float]:
        """Return the times under that name, [] where there are none."""
        return [seconds for made in self.made if (seconds := getattr(made, which)) is not None]


@dataclass(frozen=True)
class Subject:
    """What all contestants are given.

    Attributes:
        model: in evaluation mode.
        shape: channels, height, width.
        images: float32 (512, channels, height, width) in [0, 1].
        ids: which images of the training split.
        given: the float graph.
        path: where it lies.
        export_s: what its export took.
    """

    model: nn.Module
    shape: tuple[int, int, int]
    images: Any
    ids: tuple[int, ...]
    given: FloatGraph
    path: Path
    export_s: float

    def batches(self) -> Iterator[Any]:
        """Yield the calibration images."""
        for start in range(0, len(self.images), _BATCH):
            yield self.images[start : start + _BATCH]


def contestants(subject: Subject, scratch: Path) -> list[Row]:
    """Return who takes part, method by method."""
    rows: list[Row] = []
    modelopt = peers.Modelopt() if peers.modelopt_installed() else None
    for method in ("minmax", "percentile", "entropy", "mse"):
        rows.append(Row(method, TWIN, partial(by_twin, subject, method)))
        rows.append(Row(method, ONNX, partial(by_graph, subject, method)))
        if method in _STATIC:
            rows.append(Row(method, SEARCH, partial(by_their_ranges, subject, _STATIC[method], scratch)))
        # mse has no peer of its own and is held against their entropy, a search over a histogram too.
        static = _STATIC.get(method, _STATIC["entropy"])
        rows.append(Row(method, f"quantize_static {static}", partial(by_quantize_static, subject, static, scratch)))
        if method == "percentile":  # our default against theirs
            rows.append(Row(method, "quantize_static()", partial(by_quantize_static, subject, None, scratch)))
        if method in _MODELOPT and modelopt is not None:
            theirs = _MODELOPT[method]
            rows.append(Row(method, GEMM_FLOAT, partial(by_graph, subject, method, keep_float="Gemm")))
            rows.append(Row(method, f"modelopt {theirs}", partial(by_modelopt, subject, theirs, modelopt, scratch)))
    return rows


def by_twin(subject: Subject, method: str) -> Made:
    """Calibrate a torch model and export it."""
    import torch

    from calibration.graphs.qdq import store_integer_weights, translations
    from harness.compression.traced import traced
    from harness.compression.twin import Twin
    from harness.models.onnx_graph import export

    twin = Twin(traced(subject.model, subject.shape))
    started = time.perf_counter()
    twin.calibrate(method, (torch.from_numpy(batch) for batch in subject.batches()))
    twin.table(method, "clean", subject.ids)
    ranges_s = time.perf_counter() - started
    started = time.perf_counter()
    graph = store_integer_weights(export(twin, subject.shape, translations()))
    return Made(graph, ranges_s, export_s=time.perf_counter() - started)


def by_graph(subject: Subject, method: str, keep_float: str | None = None) -> Made:
    """Calibrate a float graph and insert Q/DQ, but for the nodes of one operator."""
    from engines.onnxruntime.activations import activations

    started = time.perf_counter()
    model = subject.given.model
    given = FloatGraph.of(model, [node.name for node in model.graph.node if node.op_type == keep_float])
    run = activations(given.model, given.activations, optimise=True)
    calibrating = time.perf_counter()
    table = given.calibrate(run, subject.batches(), method, "clean", subject.ids)
    ranges_s = time.perf_counter() - calibrating
    return Made(given.quantized(table), ranges_s, time.perf_counter() - started)


def by_their_ranges(subject: Subject, method: str, scratch: Path) -> Made:
    """Put the ranges of ONNX Runtime's calibrators where ours go: what differs is the range alone."""
    given = subject.given
    ranges, seconds = peers.ranges(method, subject.path, given.activations, subject.batches(), scratch)
    scales = {name: max(reach, 1e-8) / 127 for name, reach in ranges.items()}
    return Made(insert(given.model, given.places, scales), seconds)


def by_quantize_static(subject: Subject, method: str | None, scratch: Path) -> Made:
    """Let ONNX Runtime calibrate and write its own graph."""
    started = time.perf_counter()
    graph = peers.quantize_static(method, subject.path, subject.batches(), scratch)
    return Made(graph, graph_s=time.perf_counter() - started)


def by_modelopt(subject: Subject, method: str, modelopt: peers.Modelopt, scratch: Path) -> Made:
    """Let modelopt calibrate and write its own graph."""
    graph, seconds = modelopt.quantize(method, subject.path, subject.images, scratch)
    return Made(graph, graph_s=seconds)
