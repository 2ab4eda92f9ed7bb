"""What crosses the boundary between the harness and the measuring process, in JSON, one object a line.

A measurement is a conversation: the harness asks for one phase after the other, and reads the device and the process
from outside between them, while the measuring process waits. Times go to a file, since there may be millions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from contracts.errors import InputError

DEFAULT_LOADER = "engines.loading:load_engine"

Phase = Literal["runtime", "load", "warm_up", "window", "spans", "leave"]
"""Import the runtime; load the engine; run until times settle; run the timed window; tell where a GPU's time goes; put
the engine away."""

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One engine at one batch size.

    Attributes:
        engine: folder of the engine.
        batch: images of one query.
        threads: CPU threads; 0 leaves that to the runtime.
        cores: numbers of the cores that the process is held to; empty leaves it those of its parent.
        seed: of the random images.
        cuda_graph: run queries as CUDA graphs, where the runtime has them.
        loader: `module:callable` that loads the engine as `engines.loading.load_engine` does.
    """

    engine: Path
    batch: int
    threads: int
    cores: tuple[int, ...]
    seed: int
    cuda_graph: bool
    loader: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {**asdict(self), "engine": str(self.engine)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Job:
        """Read what `to_json` gave.

        Raises:
            InputError: a key is missing or unknown.
        """
        checked = whole(value, Job)
        return Job(**{**checked, "engine": Path(checked["engine"]), "cores": tuple(checked["cores"])})


@dataclass(frozen=True)
class Amount:
    """How long a window is.

    Attributes:
        seconds: at least so long,
        queries: and at least so many queries.
        times: file for the queries' times: int64 nanoseconds, nothing else.
    """

    seconds: float
    queries: int
    times: str


@dataclass(frozen=True)
class Process:
    """What the measuring process tells of itself.

    Attributes:
        resident_bytes: memory that it holds now.
        peak_bytes: the most that it ever held.
        torch_imported: whether torch shares the process.
    """

    resident_bytes: int
    peak_bytes: int
    torch_imported: bool


def whole(value: object, kind: type[T]) -> dict[str, Any]:
    """Return a JSON object that has exactly the fields of a dataclass.

    Raises:
        InputError: a key is missing or unknown.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(value, Mapping) or set(value) != names:
        found = sorted(value) if isinstance(value, Mapping) else value
        raise InputError(f"a {kind.__name__} has the keys {', '.join(sorted(names))}, got {found}")
    return dict(value)
