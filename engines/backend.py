"""What a backend is: a name, the precisions and options it has, whether it works here, how it builds and loads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from contracts.errors import InputError, unknown_name
from engines.audit import PrecisionAudit, silent_audit
from engines.engine import Engine, LoadOptions

Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")

GraphKind = Literal["float", "int8", "fp16", "bf16"]
GRAPH_KINDS: tuple[GraphKind, ...] = ("float", "int8", "fp16", "bf16")
"""The graphs that engines are built from: all quantizers off, explicit Q/DQ, or typed in half precision."""


@dataclass(frozen=True)
class Availability:
    """Whether a backend works on this machine; if not, why, and the command that mends it."""

    usable: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class NoOptions:
    """The options of a backend that has none."""


Report = Callable[[float], None]
"""Told the fraction of a build that is done, in [0, 1]."""


def unheard(fraction: float) -> None:
    """Report to nobody."""
    del fraction


@dataclass(frozen=True)
class Built:
    """What a backend says of the engine that it has just written.

    Attributes:
        weights_bytes: bytes of the constants inside the engine.
        said: what its builder told of the layers that it made, for `Backend.inspect` of the same backend.
    """

    weights_bytes: int
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspected:
    """What a built engine is made of, as its runtime tells.

    Attributes:
        audit: the precision that the graph's layers run in.
        layers: the engine's own layers as JSON values, with formats and times; None where the runtime does not tell.
    """

    audit: PrecisionAudit
    layers: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class EngineManifest:
    """What a built engine is; it lies beside the engine's files as the key `engine` of `manifest.json`.

    Attributes:
        backend: name of the backend that built it and alone can load it.
        backend_version: version of the backend's package at build time.
        precision: what was asked for.
        input_shape: channels, height, width of one image.
        classes: number of scores.
        weights_bytes: bytes of the constants inside the engine.
        engine_bytes: bytes of the engine's files.
        options: the backend's build options, resolved.
        made_for: what the engine is bound to (runtime's version, GPU, …) by name; empty where it runs wherever its
            runtime does.
        graph_sha256: digest of the ONNX file it was built from.
        files: digest of each of the engine's files, by its path in the folder.
        simulated: whether a double stood in for the runtime: then no number of it is a measurement.
        audit: what precision its layers run in on the machine that built it; None where it was never asked.
    """

    backend: str
    backend_version: str
    precision: Precision
    input_shape: tuple[int, int, int]
    classes: int
    weights_bytes: int
    engine_bytes: int
    options: Mapping[str, Any]
    made_for: Mapping[str, str] = field(default_factory=dict)
    graph_sha256: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    audit: PrecisionAudit | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        value = {**asdict(self), "input_shape": list(self.input_shape)}
        del value["audit"]
        return value if self.audit is None else {**value, "audit": self.audit.to_json()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> EngineManifest:
        """Read what `to_json` gave.

        Raises:
            InputError: a key is missing or of another kind.
        """
        try:
            channels, height, width = value["input_shape"]
            audit = None if value.get("audit") is None else PrecisionAudit.from_json(value["audit"])
            manifest = EngineManifest(**{**value, "input_shape": (channels, height, width), "audit": audit})
            for name, kind in _KINDS.items():
                if not isinstance(getattr(manifest, name), kind):
                    raise TypeError(f"{name} is {getattr(manifest, name)!r}")
            return manifest
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the engine's manifest is not whole ({error}): build the engine again") from error


_KINDS: Mapping[str, type] = {
    "backend": str,
    "backend_version": str,
    "precision": str,
    "classes": int,
    "weights_bytes": int,
    "engine_bytes": int,
    "options": dict,
    "made_for": dict,
    "files": dict,
    "simulated": bool,
}


class Backend(ABC):
    """One runtime. The abstract methods and the class attributes are all that a new one writes."""

    name: ClassVar[str]
    precisions: ClassVar[tuple[Precision, ...]]
    runtime: ClassVar[str]
    """The package that must be imported before an engine is loaded, by its import name."""
    takes_gpu: ClassVar[bool] = False
    """Whether it runs on a GPU where there is one."""
    cuda_graphs: ClassVar[bool] = False
    """Whether bound batches run as CUDA graphs where that is asked for."""
    builds_for_elsewhere: ClassVar[bool] = False
    """Whether it builds engines for other devices than the one that is here, which then may not run here."""
    builds_apart: ClassVar[bool] = False
    """Whether its builder may take the process down with it, so that it must run in one of its own."""

    def from_scratch(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the same section `build.<name>` for a build that remembers nothing of earlier ones."""
        return options

    def availability(self, precision: Precision | None = None) -> Availability:
        """Say whether this backend builds engines here, of one precision or at all."""
        del precision
        return Availability(usable=True)

    def runnable(self) -> Availability:
        """Say whether this backend runs engines here; some build where they cannot run."""
        return self.availability()

    def options(self) -> type[Any]:
        """Return a frozen dataclass: the section `build.<name>` of the experiment file, with its defaults."""
        return NoOptions

    def graph_kind(self, precision: Precision) -> GraphKind:
        """Return the graph an engine of this precision is built from."""
        return "int8" if precision == "int8" else "float"

    def check_precision(self, precision: str) -> None:
        """Refuse a precision that this backend lacks.

        Raises:
            InputError: with the precisions that it has.
        """
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
        if precision not in self.precisions:
            raise InputError(f"{self.name} has no {precision} here: it has {', '.join(self.precisions)}")

    @property
    def simulated(self) -> bool:
        """Whether a double stands in for the runtime."""
        return False

    @abstractmethod
    def version(self) -> str:
        """Return the version of the runtime's package."""

    def made_for(self, options: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what an engine that is built here with these options is bound to, by name."""
        del options
        return {}

    def unfit(self, manifest: EngineManifest) -> str | None:
        """Return in a clause why an engine cannot be loaded here, though its runtime works; None where it can."""
        del manifest
        return None

    @abstractmethod
    def build(self, graph: Path, precision: Precision, folder: Path, options: Any, report: Report) -> Built:
        """Write the engine's files into `folder`.

        Args:
            graph: ONNX file of the kind `graph_kind(precision)`, one input (batch, channels, height, width).
            precision: one of `precisions`.
            folder: an empty folder.
            options: an instance of what `options()` returns.
            report: told how far it is.

        Raises:
            InputError: the runtime refuses the graph; the sentence names the node.
        """

    def inspect(self, graph: Path, folder: Path, manifest: EngineManifest, built: Built) -> Inspected:
        """Say what a built engine is made of, on this machine.

        Args:
            graph: ONNX file that the engine was built from.
            folder: where the engine's files are.
            manifest: what the engine is.
            built: what `build` said.

        Raises:
            InputError: the multiply-accumulates of the graph cannot be counted.
        """
        del graph, folder, manifest, built
        return Inspected(silent_audit(self.name, "this backend does not tell"))

    @abstractmethod
    def engine(self, folder: Path, manifest: EngineManifest, options: LoadOptions) -> Engine:
        """Return the engine in `folder`, not yet active."""
