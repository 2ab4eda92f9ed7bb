"""The check of a built engine: what its build runs before it is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from contracts.errors import InputError, MissingDependencyError
from contracts.files import sha256_json
from engines.backend import EngineManifest, Report, unheard
from engines.checks.agreement import REFERENCE, Agreement, agreement, error_limit, unknown
from engines.checks.consistency import (
    BatchConsistency,
    RebuildSpread,
    RowConsistency,
    compared_batches,
    rebuild_spread,
    row_consistency,
)
from engines.checks.divergence import Build, Divergence, Diverging, first_divergence
from engines.checks.error import spread
from engines.checks.probe_images import probe_count, probe_images
from engines.checks.reference import reference
from engines.engine import Array, Engine, LoadOptions
from engines.loading import build_engine
from engines.registry import running_backend

BATCH = 16
"""Images of a batch in these checks."""


@dataclass(frozen=True)
class EngineChecks:
    """What was found of one engine.

    Attributes:
        agreement: with its graph.
        rows: of a batch, against each other; None where the engine could not be run.
        batches: of one image and of `BATCH`, against each other; None where the engine could not be run.
        rebuilds: engines built anew, against each other; None where none were asked for.
    """

    agreement: Agreement
    rows: RowConsistency | None
    batches: BatchConsistency | None
    rebuilds: RebuildSpread | None = None

    def warnings(self, who: str) -> tuple[str, ...]:
        """Return a sentence for everything that is wrong or not known; `who` is the engine's backend and precision."""
        made = (self.agreement, self.rows, self.batches, self.rebuilds)
        found = (each.warning() for each in made if each is not None)
        return tuple(f"{who}: {sentence}" for sentence in found if sentence is not None)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> EngineChecks:
        """Read what `to_json` gave.

        Raises:
            InputError: a key is missing or unknown.
        """
        try:
            rows, batches, rebuilds = value["rows"], value["batches"], value["rebuilds"]
            return EngineChecks(
                Agreement.from_json(value["agreement"]),
                None if rows is None else RowConsistency(**rows),
                None if batches is None else BatchConsistency(**batches),
                None if rebuilds is None else RebuildSpread(**rebuilds),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"the engine's checks are not whole ({error}): build the engine again") from error


def check_engine(
    folder: Path,
    manifest: EngineManifest,
    graph: Path,
    reference_graph: Path,
    options: Mapping[str, Any],
    rebuilds: int = 0,
    build: Build = build_engine,
    report: Report = unheard,
) -> EngineChecks:
    """Compare an engine with its graph, and its rows and batches with each other, on images made for that.

    Args:
        folder: where the engine's files are.
        manifest: what the engine is.
        graph: ONNX file that it was built from.
        reference_graph: what it should compute: an INT8 engine's own graph, otherwise the float graph.
        options: the section `build.<backend>` of the experiment.
        rebuilds: how many more engines are built of the graph and compared.
        build: builds an engine, for the search of the first layer that diverges.
        report: told the fraction of that search that is done.

    Returns:
        What was found. Where the engine or the reference cannot run here, agreement is not known, with the reason.

    Raises:
        InputError: the engine does not compute what its graph says; the sentence names the first layer that diverges.
    """
    name = f"{REFERENCE}, on {'the graph it was built from' if graph == reference_graph else 'the float graph'}"
    if reason := _cannot_run(manifest):
        return EngineChecks(unknown(name, reason), None, None)
    backend = running_backend(manifest.backend)

    def load(batch: int) -> Engine:
        return backend.engine(folder, manifest, LoadOptions(batch))

    images = probe_images(probe_count(manifest.input_shape), manifest.input_shape)
    try:
        expected = reference(reference_graph, images)
    except InputError as error:  # an operator that the engine's own runtime has
        return EngineChecks(unknown(name, str(error)), None, None)
    with ExitStack() as opened:
        try:
            engine = opened.enter_context(load(BATCH))
        except InputError as error:
            if not backend.builds_for_elsewhere:
                raise
            return EngineChecks(unknown(name, str(error)), None, None)
        scores = engine.infer(images)
        agrees = agreement(scores, expected, manifest.precision, name)
        if agrees.holds is None:
            return EngineChecks(agrees, None, None)
        yardstick, limit = spread(expected.values), error_limit(manifest.precision, expected.rounding)
        rows = row_consistency(engine, images, yardstick, limit)
    with load(1) as engine:
        alone = engine.infer(images[:BATCH])
    batches = compared_batches(alone, scores[:BATCH], yardstick, limit, BATCH)
    checks = EngineChecks(agrees, rows, batches)
    if not agrees.holds:
        diverging = Diverging(manifest.backend, manifest.precision, graph, reference_graph, options)
        raise InputError(_refusal(diverging, checks, _where(diverging, images[:BATCH], build, report)))
    if not rebuilds:
        return checks
    others = [_rebuilt(manifest, graph, options, images, build) for _ in range(rebuilds)]
    everyones, digests = zip((scores, _digest(manifest)), *others, strict=True)
    return replace(checks, rebuilds=rebuild_spread(everyones, digests, yardstick, limit))


def _rebuilt(
    manifest: EngineManifest, graph: Path, options: Mapping[str, Any], images: Array, build: Build
) -> tuple[Array, str]:
    """Build the engine once more and return its scores and what recognises its files."""
    backend = running_backend(manifest.backend)
    with tempfile.TemporaryDirectory() as scratch:
        fresh = backend.from_scratch(options)
        again, _ = build(manifest.backend, manifest.precision, graph, Path(scratch), fresh, unheard)
        with backend.engine(Path(scratch), again, LoadOptions(BATCH)) as engine:
            return engine.infer(images), _digest(again)


def _digest(manifest: EngineManifest) -> str:
    return sha256_json(dict(manifest.files))


def _refusal(engine: Diverging, checks: EngineChecks, where: str) -> str:
    found = (each.warning() for each in (checks.rows, checks.batches) if each is not None)
    also = "".join(f"; {sentence}" for sentence in found if sentence is not None)
    keep = "keep that layer in float (quantize.keep_float), " if engine.precision == "int8" else ""
    return (
        f"the {engine.backend} {engine.precision} engine does not compute what {engine.graph} says: "
        f"{checks.agreement.sentence()}; {where}{also}: {keep}build with another backend or precision, and report the "
        f"graph to {engine.backend}"
    )


def _cannot_run(manifest: EngineManifest) -> str | None:
    """Return why the engine's scores say nothing here."""
    try:
        return running_backend(manifest.backend).unfit(manifest)
    except MissingDependencyError as error:
        return str(error)


def _where(engine: Diverging, images: Array, build: Build, report: Report) -> str:
    try:
        found = first_divergence(engine, images, error_limit, build, report)
    except (InputError, MissingDependencyError) as error:
        return f"the first layer that diverges was not found ({error})"
    return _told(found)


def _told(found: Divergence | None) -> str:
    if found is None:
        return "no beginning of the graph diverges when it is built by itself"
    return (
        f"the first layer that diverges is {found.operator} '{found.node}' ({found.error:.2g} of its output's spread, "
        f"limit {found.limit:.2g})"
    )
