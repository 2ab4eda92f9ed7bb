"""What crosses the boundary between the harness and the measuring process, in JSON, one object a line.

The harness asks with one `Job`, the worker answers with one `WorkerResult`; see `harness.child` for the events.
The times go to a file, since there may be millions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from harness.measurement.window import WarmUp

DEFAULT_LOADER = "engines.loading:load_engine"


@dataclass(frozen=True)
class Job:
    """One engine at one batch size.

    Attributes:
        engine: folder of the engine.
        batch: images of one query.
        threads: CPU threads; 0 leaves that to the runtime.
        window_s: seconds of the timed window.
        seed: of the random images.
        cuda_graph: run queries as CUDA graphs, where the runtime has them.
        loader: `module:callable` that loads the engine as `engines.loading.load_engine` does.
        times: file to write the queries' times to: .npy, int64 nanoseconds.
    """

    engine: Path
    batch: int
    threads: int
    window_s: float
    seed: int
    cuda_graph: bool
    loader: str
    times: Path

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {**asdict(self), "engine": str(self.engine), "times": str(self.times)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Job:
        """Read what `to_json` gave.

        Raises:
            InputError: a key is missing or unknown.
        """
        checked = _whole(value, Job)
        return Job(**{**checked, "engine": Path(checked["engine"]), "times": Path(checked["times"])})


@dataclass(frozen=True)
class WorkerResult:
    """What the worker found beside the times.

    Attributes:
        warm_up: how the engine warmed up.
        baseline_bytes: resident memory with the runtime imported and no engine loaded.
        process_peak_bytes: most resident memory up to the window's end, 8 bytes a query of recorded times included.
        device_peak_bytes: growth of the GPU's used memory from before the engine was loaded to the window's end, or
            None.
        torch_imported: whether torch shared the process.
        spans: where a query's time goes on a GPU, milliseconds by the names of `engines.engine.Spans`: medians over
            queries of their own after the window; None where the runtime does not tell.
    """

    warm_up: WarmUp
    baseline_bytes: int
    process_peak_bytes: int
    device_peak_bytes: int | None
    torch_imported: bool
    spans: Mapping[str, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> WorkerResult:
        """Read what `to_json` gave.

        Raises:
            InputError: a key is missing or unknown.
        """
        checked = _whole(value, WorkerResult)
        return WorkerResult(**{**checked, "warm_up": WarmUp(**_whole(checked["warm_up"], WarmUp))})


def _whole(value: object, kind: type) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    if not isinstance(value, Mapping) or set(value) != names:
        found = sorted(value) if isinstance(value, Mapping) else value
        raise InputError(f"a {kind.__name__} has the keys {', '.join(sorted(names))}, got {found}")
    return dict(value)
