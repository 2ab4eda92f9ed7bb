"""Making an engine: built, then held against what its graph says; as one request that may cross to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.backend import EngineManifest, Precision, Report, unheard
from engines.checks.check import EngineChecks, check_engine
from engines.loading import build_engine


@dataclass(frozen=True)
class EngineRequest:
    """Which engine is wanted.

    Attributes:
        backend: a name of the registry.
        precision: one that the backend has.
        graph: ONNX file of the kind the backend asks for.
        options: the section `build.<backend>` of the experiment.
        reference_graph: what it should compute, see `check_engine`; None where it is not to be checked.
        rebuilds: how many more engines are built of the graph, to see how far they differ.
    """

    backend: str
    precision: Precision
    graph: Path
    options: Mapping[str, Any]
    reference_graph: Path | None = None
    rebuilds: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; its paths are absolute."""
        reference = self.reference_graph
        return {
            **asdict(self),
            "graph": str(self.graph.resolve()),
            "reference_graph": None if reference is None else str(reference.resolve()),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> EngineRequest:
        """Read what `to_json` gave."""
        reference = value["reference_graph"]
        paths = {"graph": Path(value["graph"]), "reference_graph": None if reference is None else Path(reference)}
        return EngineRequest(**{**value, **paths})


@dataclass(frozen=True)
class MadeEngine:
    """An engine that was made.

    Attributes:
        manifest: what it is.
        layers: its own layers as its runtime tells them, JSON values; None where it does not.
        checks: how it stands against its graph; None where that was not asked.
    """

    manifest: EngineManifest
    layers: Mapping[str, Any] | None
    checks: EngineChecks | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "engine": self.manifest.to_json(),
            "layers": self.layers,
            "checks": None if self.checks is None else self.checks.to_json(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MadeEngine:
        """Read what `to_json` gave.

        Raises:
            InputError: a part is not whole.
        """
        checks = value["checks"]
        return MadeEngine(
            EngineManifest.from_json(value["engine"]),
            value["layers"],
            None if checks is None else EngineChecks.from_json(checks),
        )


def make_engine(request: EngineRequest, folder: Path, report: Report = unheard) -> MadeEngine:
    """Build an engine into an empty folder and check it.

    Args:
        request: which.
        folder: an empty folder, which receives the engine's files.
        report: told the fraction of the build that is done.

    Raises:
        InputError: unknown backend, precision or option, a graph that the backend refuses, or an engine that does not
            compute what the graph says.
        MissingDependencyError: the backend does not build here.
    """
    manifest, layers = build_engine(request.backend, request.precision, request.graph, folder, request.options, report)
    if request.reference_graph is None:
        return MadeEngine(manifest, layers, None)
    checks = check_engine(
        folder, manifest, request.graph, request.reference_graph, request.options, rebuilds=request.rebuilds
    )
    return MadeEngine(manifest, layers, checks)
