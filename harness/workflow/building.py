"""Building an engine, in a process of its own where the builder may take the process with it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import HarnessError, InputError, MissingDependencyError
from engines.backend import EngineManifest, Precision, Report
from engines.loading import build_engine
from engines.registry import backend as find_backend
from engines.registry import building_backend, options
from harness.child.asking import Failed, ask_child

WORKER = (sys.executable, "-m", "harness.workflow.build_worker")
DEADLINE_S = 4 * 3600.0
"""Builders on small boards take minutes for a network and an hour for a large one."""

_ERRORS: Mapping[int, type[HarnessError]] = {error.exit_code: error for error in (InputError, MissingDependencyError)}


def built(
    backend: str, precision: Precision, graph: Path, folder: Path, settings: Mapping[str, Any], report: Report
) -> tuple[EngineManifest, Mapping[str, Any] | None]:
    """Build an engine; see `engines.loading.build_engine`.

    Args:
        backend: a name of the registry.
        precision: one that the backend has.
        graph: ONNX file of the kind the backend asks for.
        folder: an empty folder, which receives the engine's files.
        settings: the section `build.<backend>` of the experiment.
        report: told the fraction that is done.

    Raises:
        InputError: what `build_engine` refuses, or a builder that crashed.
        MissingDependencyError: the backend does not build here.
    """
    building_backend(backend, precision)  # refused here, not after a process was started
    options(backend, settings)
    if not find_backend(backend).builds_apart:
        return build_engine(backend, precision, graph, folder, settings, report)
    request = {
        "backend": backend,
        "precision": precision,
        "graph": str(graph.resolve()),
        "folder": str(folder.resolve()),
        "options": settings,
    }
    with tempfile.TemporaryDirectory(prefix="harness-building-") as scratch:
        log = Path(scratch) / "log"
        answer = ask_child(WORKER, request, deadline_s=DEADLINE_S, log=log, on_progress=report)
    if isinstance(answer, Failed):
        raise _failure(answer, f"the builder of {backend} {precision}")
    return EngineManifest.from_json(answer.result["engine"]), answer.result["layers"]


def _failure(failed: Failed, who: str) -> HarnessError:
    kind = _ERRORS.get(failed.exit_code or 0)
    if kind is not None:
        return kind(failed.reason.removeprefix("failed: "))
    return InputError(
        f"{who} {failed.reason}: free memory, try other options or another precision, and report the graph to the "
        "project if that does not help"
    )
