"""The diagnosis of a machine: a pure function of what was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from contracts.errors import MissingDependencyError, unknown_name
from engines import registry
from engines.backend import PRECISIONS
from engines.cuda.driver import Gpu
from harness.workflow.diagnosis.asking import Auto
from harness.workflow.diagnosis.backend_state import BackendState
from harness.workflow.diagnosis.explained import explained
from harness.workflow.diagnosis.facts import (
    GpuFacts,
    MachineFacts,
    PackageFacts,
    StateFacts,
    gpu_facts,
    machine_facts,
    package_facts,
    state_facts,
    to_json,
)
from harness.workflow.diagnosis.readings import Readings
from harness.workflow.diagnosis.steps import Step, steps

SCHEMA_VERSION = 1

_DOUBLE = "simulated"
"""What the GPU of a driver's double is named by."""


@dataclass(frozen=True)
class TorchFacts:
    """Whether torch should see the GPU, judged without importing it; None where that cannot be told."""

    sees_gpu: bool | None
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """What a machine can build and run, and what to do about the rest.

    Attributes:
        simulated: what did not come from this machine, a clause each; empty where all did.
        machine: the machine and its Python.
        gpu: the first GPU.
        state: clocks, temperatures, power mode.
        packages: that a GPU is used through, by name, installed or not.
        torch: whether it should see the GPU.
        backends: every backend of the registry.
        auto: what the backend `auto` stands for here.
        steps: what to do, the most urgent first.
    """

    simulated: tuple[str, ...]
    machine: MachineFacts
    gpu: GpuFacts
    state: StateFacts
    packages: Mapping[str, PackageFacts]
    torch: TorchFacts
    backends: tuple[BackendState, ...]
    auto: Auto
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; what is not known is null, and says why beside it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "simulated": list(self.simulated),
            "machine": to_json(self.machine),
            "gpu": to_json(self.gpu),
            "state": to_json(self.state),
            "packages": {name: to_json(package) for name, package in self.packages.items()},
            "torch": asdict(self.torch),
            "backends": [state.to_json() for state in self.backends],
            "auto": asdict(self.auto),
            "steps": [asdict(step) for step in self.steps],
        }

    def require(self, name: str, precision: str | None = None) -> None:
        """Insist on a backend that builds and runs here.

        Args:
            name: of a backend, or `auto`.
            precision: one that it has, or None for any.

        Raises:
            InputError: unknown backend, or a precision that it lacks.
            MissingDependencyError: it does not build or does not run here; the sentence says what mends that.
        """
        chosen = self.auto.backend if name == registry.AUTO else name
        if chosen is None:
            raise MissingDependencyError(f"it cannot be told what backend {name} takes here: {self.auto.reason}")
        check_names(chosen, precision)
        state = next(each for each in self.backends if each.name == chosen)
        built = state.builds if precision is None else state.precisions[precision]
        asked = chosen if precision is None else f"{chosen} ({precision})"
        for verb, found in (("build", built), ("run", state.runs)):
            if not found.usable:
                raise MissingDependencyError(f"backend {asked} does not {verb} here: {found.reason}; {found.remedy}")


def check_names(backend: str | None, precision: str | None) -> None:
    """Refuse a backend that there is not, or a precision that it lacks; of `auto` the backend alone is known.

    Raises:
        InputError: with the names that there are.
    """
    if backend is not None and backend != registry.AUTO:
        found = registry.backend(backend)
        if precision is not None:
            found.check_precision(precision)
    elif precision is not None and precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)


def diagnose(readings: Readings) -> Diagnosis:
    """Judge what was read."""
    backends = tuple(explained(state, readings) for state in readings.answers.backends)
    return Diagnosis(
        simulated=_simulated(readings),
        machine=machine_facts(readings),
        gpu=gpu_facts(readings),
        state=state_facts(readings),
        packages=package_facts(readings),
        torch=_torch(readings),
        backends=backends,
        auto=readings.answers.auto,
        steps=steps(readings, backends),
    )


def _simulated(readings: Readings) -> tuple[str, ...]:
    tree = "the machine is a recorded tree; Python, packages and backends are those of the machine that read it"
    doubles = [
        f"a double stands in for the runtime of {state.name}" for state in readings.answers.backends if state.simulated
    ]
    gpu = readings.gpu
    if isinstance(gpu, Gpu) and gpu.name.startswith(_DOUBLE):
        doubles.insert(0, "a double stands in for the NVIDIA driver")
    return (*([tree] if readings.place.simulated else []), *doubles)


def _torch(readings: Readings) -> TorchFacts:
    torch, gpu = next((each for each in readings.packages if each.name == "torch"), None), readings.gpu
    if torch is None:
        return TorchFacts(None, "torch is not installed")
    if readings.place.simulated:
        return TorchFacts(None, "a recorded tree tells nothing of its torch")
    if torch.cuda is None:
        return TorchFacts(False, f"torch {torch.version} is built without CUDA")
    if not isinstance(gpu, Gpu):
        return TorchFacts(False, gpu.reason)
    built, known = (int(version.partition(".")[0]) for version in (torch.cuda, gpu.cuda_version))
    clause = f"torch {torch.version} is built for CUDA {torch.cuda}, and the driver knows CUDA {gpu.cuda_version}"
    return TorchFacts(built <= known, clause)
