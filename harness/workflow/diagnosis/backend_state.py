"""What one backend can do here, as it says itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from engines import registry
from engines.backend import Availability, Backend, Report, unheard
from harness.devices.installed import reinstalling

IMPORTED = 0.5
"""What is reported once the backend's package was imported."""


@dataclass(frozen=True)
class BackendState:
    """What a backend can do here.

    Attributes:
        name: of the registry.
        version: its package's, or None where the package does not tell.
        simulated: whether a double stands in for its runtime.
        builds: whether it builds engines here, of any precision.
        precisions: the same, of each precision that it has.
        runs: whether it runs engines here; some build where they cannot run.
    """

    name: str
    version: str | None
    simulated: bool
    builds: Availability
    precisions: Mapping[str, Availability]
    runs: Availability

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> BackendState:
        """Read what `to_json` gave."""
        return BackendState(
            name=value["name"],
            version=value["version"],
            simulated=value["simulated"],
            builds=Availability(**value["builds"]),
            precisions={name: Availability(**each) for name, each in value["precisions"].items()},
            runs=Availability(**value["runs"]),
        )

    def works(self, precision: str | None = None) -> bool:
        """Say whether it builds and runs here, a precision that it has or any."""
        built = self.builds if precision is None else self.precisions[precision]
        return built.usable and self.runs.usable


def backend_state(name: str, report: Report = unheard) -> BackendState:
    """Ask a backend in this process, which a broken package may take down with it.

    Args:
        name: of the registry.
        report: told how far it is: `IMPORTED` after the package's import.
    """
    asked = registry.backend(name)
    version = _version(asked)
    builds = _answer(asked, asked.availability)
    report(IMPORTED)
    precisions: dict[str, Availability] = {
        precision: _answer(asked, partial(asked.availability, precision)) if builds.usable else builds
        for precision in asked.precisions
    }
    return BackendState(name, version, _is_simulated(asked), builds, precisions, _answer(asked, asked.runnable))


def silent_state(name: str, reason: str) -> BackendState:
    """Return the state of a backend that gave no answer, and why."""
    asked = registry.backend(name)
    no = Availability(False, reason, reinstalling(asked.runtime))
    return BackendState(name, None, False, no, dict.fromkeys(asked.precisions, no), no)


def _answer(asked: Backend, question: Callable[[], Availability]) -> Availability:
    try:
        return question()
    except Exception as error:  # a package's own, of whatever kind: the other backends are still to be told of
        lines = str(error).strip().splitlines()
        said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        return Availability(False, f"its package fails when it is asked ({said})", reinstalling(asked.runtime))


def _version(asked: Backend) -> str | None:
    try:
        return asked.version()
    except Exception:  # not installed, or broken: `availability` says which
        return None


def _is_simulated(asked: Backend) -> bool:
    try:
        return asked.simulated
    except Exception:
        return False
