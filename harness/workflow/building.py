"""Building an engine, in a process of its own where the builder may take the process with it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from contracts.errors import HarnessError, InputError
from engines.backend import Report
from engines.making import EngineRequest, MadeEngine, make_engine
from engines.registry import building_backend, options
from harness.child.conversation import Failed, ask_child

WORKER = (sys.executable, "-m", "harness.workflow.build_worker")
DEADLINE_S = 4 * 3600.0
"""Builders on small boards take minutes for a network and an hour for a large one."""


def made(request: EngineRequest, folder: Path, report: Report) -> MadeEngine:
    """Make an engine; see `engines.making.make_engine`.

    Raises:
        InputError: what `make_engine` refuses, or a builder that crashed.
        MissingDependencyError: the backend does not build here.
    """
    backend = building_backend(request.backend, request.precision)  # refused here, not after a process was started
    options(request.backend, request.options)
    if not backend.builds_apart:
        return make_engine(request, folder, report)
    asked = {"engine": request.to_json(), "folder": str(folder.resolve())}
    with tempfile.TemporaryDirectory(prefix="harness-building-") as scratch:
        log = Path(scratch) / "log"
        answer = ask_child(WORKER, asked, deadline_s=DEADLINE_S, log=log, on_progress=report)
    if isinstance(answer, Failed):
        raise _failure(answer, f"the builder of {request.backend} {request.precision}")
    return MadeEngine.from_json(answer.result)


def _failure(failed: Failed, who: str) -> HarnessError:
    return failed.error(failed.reason.removeprefix("failed: ")) or InputError(
        f"{who} {failed.reason}: free memory, try other options or another precision, and report the graph to the "
        "project if that does not help"
    )
