"""What a machine is and what state it is in, as the diagnosis tells it: what is not known is None, with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from engines.cuda.driver import Gpu
from harness.devices.installed import GPU_PACKAGES
from harness.workflow.diagnosis.readings import Readings

Facts = TypeVar("Facts", "MachineFacts", "GpuFacts", "StateFacts")

_NO_CPUFREQ = "the kernel shows no cpufreq here, as in a virtual machine"
_NO_GPU_CLOCK = "neither NVML nor a Jetson's devfreq tells it"
_NO_LIMIT = "no Jetson's devfreq is here"


@dataclass(frozen=True)
class MachineFacts:
    """The machine and its Python; `reasons` says of every None why.

    Attributes:
        virtual_environment: the folder of the virtual environment.
        sees_system_packages: whether Python looks into the system's packages too.
    """

    operating_system: str | None
    platform: str
    cpu: str
    cores: int
    memory_bytes: int | None
    python: str
    virtual_environment: str | None
    sees_system_packages: bool
    board: str | None
    jetpack: str | None
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class GpuFacts:
    """The first GPU; `reasons` says of every None why. `cuda_version` is the newest that the driver knows."""

    name: str | None
    compute_capability: str | None
    memory_bytes: int | None
    driver: str | None
    cuda_version: str | None
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class StateFacts:
    """How fast, how hot, what holds the clocks down; `reasons` says of every None why.

    Attributes:
        held_down: a clause each for what keeps clocks low, or has since the board was started.
    """

    power_mode: str | None
    governor: str | None
    cpu_clock_mhz: float | None
    cpu_highest_mhz: float | None
    cpu_possible_mhz: float | None
    gpu_clock_mhz: float | None
    gpu_lowest_mhz: float | None
    gpu_highest_mhz: float | None
    gpu_possible_mhz: float | None
    temperatures_c: Mapping[str, float] | None
    held_down: tuple[str, ...] | None
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class PackageFacts:
    """A package that a GPU is used through; `reason` says why there is no version."""

    version: str | None
    cuda: str | None
    reason: str | None


def machine_facts(readings: Readings) -> MachineFacts:
    """Return what the machine and its Python are."""
    place, python = readings.place, readings.python
    return _with_reasons(
        MachineFacts(
            operating_system=readings.operating_system,
            platform=place.platform,
            cpu=place.cpu,
            cores=place.cores,
            memory_bytes=readings.memory_bytes,
            python=python.version,
            virtual_environment=str(python.prefix) if python.is_virtual else None,
            sees_system_packages=python.sees_base_packages,
            board=place.board,
            jetpack=place.jetpack,
            reasons={},
        ),
        {
            "operating_system": "there is no /etc/os-release",
            "memory_bytes": "there is no /proc/meminfo",
            "virtual_environment": "this Python is in none",
            "board": "no device tree names a board; a container must be shown it",
            "jetpack": "there is no /etc/nv_tegra_release: this is no Jetson, or a container that was not shown it",
        },
    )


def gpu_facts(readings: Readings) -> GpuFacts:
    """Return what the GPU is."""
    gpu = readings.gpu
    known = gpu if isinstance(gpu, Gpu) else None
    why = "" if isinstance(gpu, Gpu) else gpu.reason
    driver = readings.place.driver
    return _with_reasons(
        GpuFacts(
            name=known.name if known else readings.place.gpu,
            compute_capability=known.capability if known else None,
            memory_bytes=known.memory_bytes if known else None,
            driver=readings.kernel_driver if driver in {None, "unknown"} else driver,
            cuda_version=known.cuda_version if known else None,
            reasons={},
        ),
        {
            "name": why,
            "compute_capability": why,
            "memory_bytes": why,
            "cuda_version": why,
            "driver": "neither NVML nor the kernel tells of a driver",
        },
    )


def state_facts(readings: Readings) -> StateFacts:
    """Return how fast and how hot the machine is."""
    cpu, gpu, nvml = readings.cpu_clock, readings.board_gpu_clock, readings.gpu_state
    zones = dict(readings.temperatures_c)
    if nvml.temperature_c is not None:
        zones["GPU"] = nvml.temperature_c
    return _with_reasons(
        StateFacts(
            power_mode=readings.board_state.power_mode,
            governor=readings.governor,
            cpu_clock_mhz=cpu.now_mhz,
            cpu_highest_mhz=cpu.highest_mhz,
            cpu_possible_mhz=cpu.possible_mhz,
            gpu_clock_mhz=gpu.now_mhz if nvml.clock_mhz is None else nvml.clock_mhz,
            gpu_lowest_mhz=gpu.lowest_mhz,
            gpu_highest_mhz=gpu.highest_mhz,
            gpu_possible_mhz=gpu.possible_mhz,
            temperatures_c=zones or None,
            held_down=held_down(readings),
            reasons={},
        ),
        {
            "power_mode": "there is no status of nvpmodel: this is no Jetson, or a container that was not shown it",
            "governor": _NO_CPUFREQ,
            "cpu_clock_mhz": "neither cpufreq nor /proc/cpuinfo tells it",
            "cpu_highest_mhz": _NO_CPUFREQ,
            "cpu_possible_mhz": _NO_CPUFREQ,
            "gpu_clock_mhz": _NO_GPU_CLOCK,
            "gpu_lowest_mhz": _NO_LIMIT,
            "gpu_highest_mhz": _NO_LIMIT,
            "gpu_possible_mhz": _NO_LIMIT,
            "temperatures_c": "the kernel shows no thermal zone, as in a virtual machine",
            "held_down": "neither NVML, a Jetson's counters nor cpufreq answer here",
        },
    )


def held_down(readings: Readings) -> tuple[str, ...] | None:
    """Return a clause for all that keeps clocks low; None where nothing could tell."""
    throttle, events = readings.gpu_state.throttle, readings.board_state.throttle_events
    clocks = {"CPU": readings.cpu_clock, "GPU": readings.board_gpu_clock}
    if throttle is None and events is None and all(clock.possible_mhz is None for clock in clocks.values()):
        return None
    found = [] if throttle in {None, "none"} else [f"the GPU's clocks are held down now: {throttle}"]
    for name, clock in clocks.items():
        if clock.is_limited:
            found.append(f"the {name} may run at {clock.highest_mhz:g} MHz of {clock.possible_mhz:g}")
    if events:
        found.append(f"the board throttled {events:.0f} times since it was started")
    return tuple(found)


def package_facts(readings: Readings) -> dict[str, PackageFacts]:
    """Return every package of `GPU_PACKAGES` by its name."""
    found = {package.name: PackageFacts(package.version, package.cuda, None) for package in readings.packages}
    return {name: found.get(name, PackageFacts(None, None, "not installed")) for name in GPU_PACKAGES}


def _with_reasons(facts: Facts, why: Mapping[str, str]) -> Facts:
    """Return the facts with the reasons of those that are None."""
    values: dict[str, Any] = {field.name: getattr(facts, field.name) for field in fields(facts)}
    values["reasons"] = {name: why[name] for name, value in values.items() if value is None}
    return type(facts)(**values)


def to_json(facts: MachineFacts | GpuFacts | StateFacts | PackageFacts) -> dict[str, Any]:
    """Return a JSON object."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(facts).items()}
