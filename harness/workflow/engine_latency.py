"""How fast a twin will be: the engine that it becomes is built in a scratch folder and measured."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.backend import Precision
from harness.workflow import saved_models
from harness.workflow.context import Context

if TYPE_CHECKING:
    from harness.compression.twin import Twin


def p50_ms(
    context: Context,
    folder: Path,
    twin: Twin,
    input_shape: Sequence[int],
    backend: str,
    precision: Precision = "int8",
    batches: Sequence[int] = (),
) -> tuple[dict[int, float], list[str]]:
    """Return the median latency by batch size of the engine that a twin becomes, and why it is not valid.

    Args:
        context: of the experiment; its `[measure]` says how long.
        folder: where the scratch folder lies.
        twin: calibrated.
        input_shape: channels, height, width.
        backend: that builds the engine.
        precision: fp32, or int8.
        batches: those of `[measure]` where none are given.
    """
    from harness.measurement.client import measure_engine
    from harness.workflow.stages.build import options_of
    from harness.workflow.stages.measure import request

    with tempfile.TemporaryDirectory(dir=folder) as name:
        engine = Path(name) / "engine"
        build(twin, input_shape, backend, precision, engine, options_of(context, backend))
        asked = request(context, engine, tuple(batches) or context.experiment.measure.batch)
        measured: Any = measure_engine(asked, Path(name), context.progress)
    times = {latency.batch: latency.p50_ms for latency in measured.latencies if latency.p50_ms is not None}
    invalid = [reason for latency in measured.latencies if not latency.valid for reason in latency.reasons]
    return times, invalid + ([] if measured.device.valid else list(measured.device.reasons))


def build(
    twin: Twin,
    input_shape: Sequence[int],
    backend: str,
    precision: Precision,
    folder: Path,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Build the engine that a twin becomes in a new folder, ready to be measured.

    Args:
        twin: calibrated.
        input_shape: channels, height, width.
        backend: that builds it.
        precision: fp32, or int8.
        folder: made here.
        options: the backend's own.
    """
    from engines.backend import unheard
    from engines.loading import MANIFEST
    from engines.making import EngineRequest
    from harness.workflow.building import made

    folder.mkdir()
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        _export(twin, input_shape, precision, Path(name))
        request = EngineRequest(backend, precision, Path(name) / saved_models.GRAPH, dict(options or {}))
        manifest = made(request, folder, unheard).manifest
    (folder / MANIFEST).write_text(json.dumps({"engine": manifest.to_json()}), encoding="utf-8")


def _export(twin: Twin, input_shape: Sequence[int], precision: Precision, folder: Path) -> None:
    from calibration.graphs.qdq import store_integer_weights, translations
    from harness.models.onnx_graph import export
    from harness.workflow.stages.export import save

    channels, height, width = input_shape
    graph = export(twin.quantize(precision == "int8"), (channels, height, width), translations())
    save(store_integer_weights(graph) if precision == "int8" else graph, folder)
