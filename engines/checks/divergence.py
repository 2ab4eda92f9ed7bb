"""The first layer of an engine that does not compute what its graph says.

An engine shows its scores alone, so engines of the graph's beginnings are built, each cut off at one tensor, and
compared with the reference there. Which beginnings is a bisection over the graph, as `git bisect` does it over a
history: of the tensors that are still suspected, the one that splits them best by what it is computed from. It assumes
that a divergence persists downstream: a tensor that agrees clears all that it is computed from. A fault that a runtime
commits only where a layer meets its neighbours shows at the first tensor where they have met.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.backend import EngineManifest, Precision, Report, unheard
from engines.checks.error import relative_error
from engines.checks.prefix import Cut, cuts, prefix
from engines.checks.reference import references, tensor_shapes
from engines.engine import Array, LoadOptions
from engines.loading import build_engine
from engines.registry import running_backend

if TYPE_CHECKING:
    import onnx

Build = Callable[
    [str, Precision, Path, Path, Mapping[str, Any], Report], tuple[EngineManifest, Mapping[str, Any] | None]
]
"""As `engines.loading.build_engine`."""

Limit = Callable[[Precision, float], float]
"""From the precision and the reference's rounding to the largest error; see `agreement.error_limit`."""


@dataclass(frozen=True)
class Divergence:
    """Where an engine leaves its graph.

    Attributes:
        node: name of the first layer whose output diverges; its output's where it has none.
        operator: ONNX's name of what it does.
        error: `relative_error` of what comes out of it and what the runtime may fuse with it.
        limit: the largest that roundings explain there.
        checked: engines that were built to find it.
    """

    node: str
    operator: str
    error: float
    limit: float
    checked: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Diverging:
    """An engine that diverges and what it is built from.

    Attributes:
        backend, precision: the engine's.
        graph: what it was built from.
        reference_graph: what it should compute; its tensors have the same names.
        options: the section `build.<backend>` of the experiment.
    """

    backend: str
    precision: Precision
    graph: Path
    reference_graph: Path
    options: Mapping[str, Any]


def first_divergence(
    engine: Diverging, images: Array, limit: Limit, build: Build = build_engine, report: Report = unheard
) -> Divergence | None:
    """Find the first layer whose output is beyond the limit, in about log2(tensors) + 1 builds.

    Args:
        engine: whose scores diverge.
        images: float32, shape (n, channels, height, width), in [0, 1].
        limit: what roundings explain.
        build: builds an engine.
        report: told the fraction that is done.

    Returns:
        None where no beginning of the graph diverges: the fault needs the whole graph.

    Raises:
        InputError: the backend refuses a beginning of the graph.
        MissingDependencyError: the backend does not build or run here.
    """
    import onnx

    graph, reference = onnx.load(str(engine.graph)), onnx.load(str(engine.reference_graph))
    comparer = _Comparer(engine, graph, reference, images, limit, build)
    by_tensor = cuts(graph, frozenset(comparer.features))
    suspected, worst = set(by_tensor), graph.graph.output[0].name
    measured: dict[str, tuple[float, float]] = {}
    expected = math.ceil(math.log2(len(suspected))) + 1
    while len(suspected) > 1:
        cut = _best_split(suspected - {worst}, suspected, by_tensor)
        measured[cut.tensor] = error, allowed = comparer(cut.tensor)
        report(min(len(measured) / expected, 1.0))
        older = cut.before | {cut.tensor}
        if error > allowed:
            suspected, worst = suspected & older, cut.tensor
        else:
            suspected -= older
    error, allowed = measured[worst] if worst in measured else comparer(worst)
    checked = len(measured) + (worst not in measured)
    report(1.0)
    if error <= allowed:
        return None
    node = by_tensor[worst].node
    return Divergence(node.name or node.output[0], node.op_type, error, allowed, checked)


def _best_split(choice: set[str], suspected: set[str], by_tensor: Mapping[str, Cut]) -> Cut:
    """Return the tensor for which the smaller of its two outcomes leaves the fewest, first in the graph's order."""

    def least(cut: Cut) -> int:
        older = len(cut.before & suspected) + 1
        return min(older, len(suspected) - older)

    return max((cut for name, cut in by_tensor.items() if name in choice), key=least)


class _Comparer:
    """Builds a beginning of the graph and compares it: from a tensor to its error and the limit there."""

    def __init__(
        self,
        engine: Diverging,
        graph: onnx.ModelProto,
        reference: onnx.ModelProto,
        images: Array,
        limit: Limit,
        build: Build,
    ) -> None:
        self._engine, self._graph, self._reference = engine, graph, reference
        self._images, self._limit, self._build = images, limit, build
        made = {name for node in graph.graph.node for name in node.output}
        shapes = tensor_shapes(reference, images[:_SHAPED])
        self.features = {
            name: math.prod(shape[1:])
            for name, shape in shapes.items()
            if name in made and len(shape) > 1 and shape[0] == len(images[:_SHAPED])
        }

    def __call__(self, tensor: str) -> tuple[float, float]:
        (expected,) = references(self._reference, [tensor], self._images)
        with tempfile.TemporaryDirectory(prefix="harness-divergence-") as scratch:
            scores = self._scores(tensor, Path(scratch))
        error = relative_error(scores, expected.values.reshape(len(scores), -1))
        return error, self._limit(self._engine.precision, expected.rounding)

    def _scores(self, tensor: str, scratch: Path) -> Array:
        import onnx

        engine, path, folder = self._engine, scratch / "graph.onnx", scratch / "engine"
        folder.mkdir()
        onnx.save(prefix(self._graph, tensor, self.features[tensor]), str(path))
        manifest, _ = self._build(engine.backend, engine.precision, path, folder, engine.options, unheard)
        options = LoadOptions(batch_size=len(self._images))
        with running_backend(engine.backend).engine(folder, manifest, options) as running:
            return running.infer(self._images)


_SHAPED = 5  # images that tell which tensors have the batch as their first dimension
