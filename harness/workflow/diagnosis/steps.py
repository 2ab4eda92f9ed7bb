"""What to do, from what was read: what is broken first, what is not of this machine last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from engines.cuda.driver import Gpu
from harness.devices.installed import Package
from harness.workflow.diagnosis.backend_state import BackendState
from harness.workflow.diagnosis.explained import TENSORRT, is_jetson, is_told_by_the_tree, no_gpu
from harness.workflow.diagnosis.facts import held_down
from harness.workflow.diagnosis.readings import Readings

Kind = Literal["mend", "add", "steady", "elsewhere"]
KINDS: tuple[Kind, ...] = ("mend", "add", "steady", "elsewhere")
"""Something is broken; something could be installed; measurements would be steadier; not possible on this machine."""

_RTX = "tensorrt-rtx"
_NVIDIA_ALONE = frozenset({TENSORRT, _RTX})


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        kind: how it matters.
        about: what it is about: a backend, a package, `gpu`, `clocks`.
        reason: what is the matter, in a clause.
        remedy: what mends it, with the command.
    """

    kind: Kind
    about: str
    reason: str
    remedy: str


def steps(readings: Readings, backends: Sequence[BackendState]) -> tuple[Step, ...]:
    """Return what to do, the most urgent first.

    Args:
        readings: what was read.
        backends: their states, with this machine's remedies.
    """
    found = [
        *_gpu(readings),
        *_backends(readings, backends),
        *_newer_than_the_driver(readings),
        *_torch(readings),
        *_clocks(readings),
    ]
    return tuple(sorted(found, key=lambda step: KINDS.index(step.kind)))


def _gpu(readings: Readings) -> Iterator[Step]:
    absent = no_gpu(readings)
    if absent is not None and readings.has_nvidia_gpu and not readings.place.simulated:
        yield Step("mend", "gpu", absent.reason, absent.remedy)


def _backends(readings: Readings, backends: Sequence[BackendState]) -> Iterator[Step]:
    absent = no_gpu(readings)
    reachable = readings.has_nvidia_gpu or absent is None
    for state in backends:
        lack = state.runs if state.builds.usable else state.builds
        if lack.usable:
            continue
        if readings.place.simulated and not is_told_by_the_tree(state, readings):
            continue  # it says something of the machine that reads the tree
        if state.name in _NVIDIA_ALONE and not reachable:
            yield Step("elsewhere", state.name, f"this machine has no NVIDIA GPU; {lack.reason}", lack.remedy)
        elif absent is not None and lack.reason == absent.reason:
            continue  # the GPU's own step says it once
        elif state.name == _RTX and state.version is None and is_jetson(readings):
            continue  # it has no code for a Jetson's GPU
        else:
            yield Step("mend" if _is_installed(state, readings) else "add", state.name, lack.reason, lack.remedy)


def _is_installed(state: BackendState, readings: Readings) -> bool:
    """Say whether its package is on this machine, working or not, seen or hidden."""
    if state.name == TENSORRT and (readings.has_tensorrt or readings.hidden_tensorrt is not None):
        return True
    names = [package.name for package in readings.packages]
    return state.version is not None or any(name.startswith(f"{state.name}-cu") for name in names)


def _newer_than_the_driver(readings: Readings) -> Iterator[Step]:
    gpu = readings.gpu
    if not isinstance(gpu, Gpu):
        return
    driver = int(gpu.cuda_version.partition(".")[0])
    for package in readings.packages:
        if package.cuda is not None and int(package.cuda.partition(".")[0]) > driver:
            yield Step(
                "mend",
                package.name,
                f"{package.name} {package.version} is made for CUDA {package.cuda}, and the driver knows CUDA "
                f"{gpu.cuda_version}",
                _older(package, driver),
            )


def _older(package: Package, major: int) -> str:
    commands = {
        "cuda-bindings": f"pip install 'cuda-bindings=={major}.*'",
        "cuda-python": f"pip install 'cuda-python=={major}.*'",
        "tensorrt": f"pip uninstall tensorrt, then pip install tensorrt-cu{major}",
        "tensorrt-rtx-cu13": f"pip uninstall tensorrt-rtx-cu13, then pip install tensorrt-rtx-cu{major}",
    }
    command = commands.get(package.name)
    update = f"update the driver to one that knows CUDA {package.cuda}"
    return f"install the one for CUDA {major} with: {command}; or {update}" if command else update


def _torch(readings: Readings) -> Iterator[Step]:
    torch = next((package for package in readings.packages if package.name == "torch"), None)
    if torch is not None and torch.cuda is None and isinstance(readings.gpu, Gpu):
        yield Step(
            "add",
            "torch",
            f"torch {torch.version} is built without CUDA: it trains and attacks on the CPU beside an NVIDIA GPU",
            "install a CUDA build with: pip install --force-reinstall torch torchvision (on a Jetson: JetPack's own)",
        )


def _clocks(readings: Readings) -> Iterator[Step]:
    held = held_down(readings) or ()
    throttle = readings.gpu_state.throttle
    if throttle not in {None, "none"}:
        yield Step("steady", "clocks", held[0], "cool the GPU or raise its power limit, and measure then")
    modes = [number for number, name in readings.power_modes.items() if name.startswith("MAXN")]
    gpu, mode = readings.board_gpu_clock, readings.board_state.power_mode
    if gpu.is_limited and modes and not (mode or "").startswith("MAXN"):
        clause = f"the power mode {mode} lets the GPU run at {gpu.highest_mhz:g} MHz of {gpu.possible_mhz:g}"
        yield Step("steady", "clocks", clause, f"for full speed: sudo nvpmodel -m {modes[-1]}")
    if gpu.is_free:
        clause = f"the GPU's clock follows the load, from {gpu.lowest_mhz:g} to {gpu.highest_mhz:g} MHz"
        yield Step("steady", "clocks", clause, "hold it with: sudo jetson_clocks")
    events = readings.board_state.throttle_events
    if events:
        clause = f"the board throttled {events:.0f} times since it was started, from heat or current"
        yield Step("steady", "clocks", clause, "cool it, or give it a stronger supply or a lower power mode")
    if readings.governor not in {None, "performance"} and not is_jetson(readings):
        clause = f"the CPU's clock follows the load (governor {readings.governor})"
        yield Step("steady", "clocks", clause, "hold it with: sudo cpupower frequency-set -g performance")
