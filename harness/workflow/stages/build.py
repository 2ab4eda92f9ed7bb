"""Build: an engine for one backend and precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.files import sha256_json
from engines.audit import audit_warnings
from engines.backend import EngineManifest, GraphKind, Precision
from engines.making import EngineRequest
from engines.registry import backend as find_backend
from engines.registry import options as resolve_options
from harness.progress import to_fraction
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.building import made
from harness.workflow.context import Context
from harness.workflow.saved_models import GRAPH

NAME = "build"


def graph_kind(backend: str, precision: Precision) -> GraphKind:
    """Return the graph that this engine is built from."""
    return find_backend(backend).graph_kind(precision)


def task(context: Context, graph: Task, reference: Task, backend: str, precision: Precision) -> Task:
    """Return how the engine is made.

    Args:
        context: of the command.
        graph: what it is built from.
        reference: what it should compute; the graph itself unless that is typed in half precision.
        backend: which.
        precision: which.

    Raises:
        InputError: unknown backend, or one that lacks the precision.
    """
    find_backend(backend).check_precision(precision)
    return Task(
        stage=NAME,
        path=f"engines/{backend}-{precision}",
        kind="engine",
        settings={
            "backend": backend,
            "precision": precision,
            **_resolved(context, backend),
            **({"rebuilds": rebuilds} if (rebuilds := context.experiment.build.rebuilds) else {}),
        },
        make=lambda folder, parents: _make(context, folder, parents, backend, precision),
        parents=(graph,) if reference.path == graph.path else (graph, reference),
        unfit=_unfit,
    )


def _unfit(engine: Artifact) -> str | None:
    """Say why an engine cannot be loaded by the runtime that is here, if one is."""
    manifest = EngineManifest.from_json(engine.info("engine"))
    backend = find_backend(manifest.backend)
    return backend.unfit(manifest) if backend.availability().usable else None


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...], backend: str, precision: Precision) -> Made:
    import onnx

    from calibration.graphs.lint import lint, refuse_errors
    from calibration.graphs.tensorrt_cache import activation_scales

    graph, reference = parents[0], parents[-1]
    model = onnx.load(str(graph.folder / GRAPH))
    findings = lint(model)
    refuse_errors(findings, str(graph.folder / GRAPH))
    request = EngineRequest(
        backend,
        precision,
        graph.folder / GRAPH,
        options_of(context, backend),
        reference.folder / GRAPH,
        context.experiment.build.rebuilds,
    )
    with context.progress.bar(f"building {backend} {precision}", 1) as advance:
        engine = made(request, folder, to_fraction(advance, 1))
    scales = activation_scales(model)
    return {
        **engine.to_json(),
        "calibration_sha256": sha256_json(scales) if scales else None,
        "warnings": [
            *graph.manifest["info"].get("warnings", ()),
            *(finding.sentence for finding in findings),
            *audit_warnings(backend, precision, engine.manifest.audit),
            *(engine.checks.warnings(f"{backend} {precision}") if engine.checks else ()),
        ],
    }


def options_of(context: Context, backend: str) -> Mapping[str, Any]:
    """Return the section `build.<backend>` of the experiment."""
    return context.experiment.build.options.get(backend, {})


def _resolved(context: Context, backend: str) -> Mapping[str, Any]:
    """Return every option of a backend that has any, defaults included, as a setting of its engines."""
    found = asdict(resolve_options(backend, options_of(context, backend)))
    return {"options": found} if found else {}
