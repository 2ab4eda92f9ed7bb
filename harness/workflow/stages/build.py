"""Build: an engine for one backend and precision."""

from __future__ import annotations

from pathlib import Path

from engines.audit import audit_warnings
from engines.backend import GraphKind, Precision
from engines.loading import build_engine
from engines.registry import backend as find_backend
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.saved_models import GRAPH

NAME = "build"


def graph_kind(backend: str, precision: Precision) -> GraphKind:
    """Return the graph that this engine is built from."""
    return find_backend(backend).graph_kind(precision)


def task(context: Context, graph: Task, backend: str, precision: Precision) -> Task:
    """Return how the engine is made.

    Raises:
        InputError: unknown backend, or one that lacks the precision.
    """
    find_backend(backend).check_precision(precision)
    return Task(
        stage=NAME,
        path=f"engines/{backend}-{precision}",
        kind="engine",
        settings={"backend": backend, "precision": precision},
        make=lambda folder, parents: _make(context, folder, parents, backend, precision),
        parents=(graph,),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...], backend: str, precision: Precision) -> Made:
    import onnx

    from calibration.graphs.lint import lint, refuse_errors

    (graph,) = parents
    findings = lint(onnx.load(str(graph.folder / GRAPH)))
    refuse_errors(findings, str(graph.folder / GRAPH))
    with context.progress.bar(f"building {backend} {precision}", 1) as advance:
        manifest = build_engine(backend, precision, graph.folder / GRAPH, folder, {})
        advance(1)
    return {
        "engine": manifest.to_json(),
        "warnings": [
            *graph.manifest["info"].get("warnings", ()),
            *(finding.sentence for finding in findings),
            *audit_warnings(backend, precision, manifest.audit),
        ],
    }
