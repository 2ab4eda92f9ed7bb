"""The diagnosis as a page: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from reports.wording import plain, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from harness.workflow.diagnosis.backend_state import BackendState
    from harness.workflow.diagnosis.diagnosis import Diagnosis
    from harness.workflow.diagnosis.facts import GpuFacts, MachineFacts, PackageFacts, StateFacts
    from harness.workflow.diagnosis.steps import Kind

_LABELS: Mapping[Kind, tuple[str, str]] = {
    "mend": ("mend", "bold red"),
    "add": ("install", "bold"),
    "steady": ("steadier", "yellow"),
    "elsewhere": ("elsewhere", "dim"),
}
_HOTTEST = 6


def print_page(console: Console, diagnosis: Diagnosis) -> None:
    """Print what the machine is, what its backends can do, and what to do about the rest."""
    for clause in diagnosis.simulated:
        console.print(_text(f"simulated: {clause}", "bold yellow"))
    if diagnosis.simulated:
        console.print()
    _section(console, "Machine", _grid(_machine(diagnosis.machine)))
    console.print()
    _section(console, "GPU", _grid((*_gpu(diagnosis.gpu), *_packages(diagnosis))))
    console.print()
    _section(console, "State", _grid(_state(diagnosis.state)))
    console.print()
    _section(console, "Backends", _backends(diagnosis.backends))
    for state in diagnosis.backends:
        for line in _lacks(state):
            console.print(_text(line, "dim"))
    console.print(_text(diagnosis.auto.reason))
    console.print()
    _section(console, "What to do", _steps(diagnosis))


def _section(console: Console, title: str, body: RenderableType) -> None:
    console.print(_text(title, "bold"))
    console.print(body)


def _text(text: str, style: str = "") -> Text:
    """Return words as text alone: no markup, no control characters."""
    from rich.text import Text

    return Text(plain(text), style)


def _grid(rows: tuple[tuple[str, str], ...] | Iterator[tuple[str, str]]) -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(min_width=14)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(_text(label, "dim"), _text(value))
    return grid


def _machine(machine: MachineFacts) -> Iterator[tuple[str, str]]:
    memory = "" if machine.memory_bytes is None else f", {size(machine.memory_bytes)}"
    yield "CPU", f"{machine.cpu}, {machine.cores} cores{memory}"
    if machine.board is not None:
        yield "board", machine.board
    if machine.jetpack is not None:
        yield "JetPack", machine.jetpack
    yield "system", machine.operating_system or machine.platform
    where = "in no virtual environment"
    if machine.virtual_environment is not None:
        plain_one = "" if machine.sees_system_packages else ", which does not see the system's packages"
        where = f"in {machine.virtual_environment}{plain_one}"
    yield "Python", f"{machine.python} {where}"


def _gpu(gpu: GpuFacts) -> Iterator[tuple[str, str]]:
    if gpu.compute_capability is None:
        yield "GPU", f"{f'{gpu.name}, not usable' if gpu.name else 'none found'}: {gpu.reasons['compute_capability']}"
    else:
        memory = "" if gpu.memory_bytes is None else f", {size(gpu.memory_bytes)}"
        yield "GPU", f"{gpu.name}, compute capability {gpu.compute_capability}{memory}"
    if gpu.driver is not None or gpu.cuda_version is not None:
        yield "driver", f"{gpu.driver or 'of an unknown version'}, knows CUDA {gpu.cuda_version or '(not told)'}"


def _packages(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    def said(name: str, package: PackageFacts) -> str:
        return f"{name} {package.version}" + (f" (CUDA {package.cuda})" if package.cuda else "")

    found = [said(name, each) for name, each in diagnosis.packages.items() if each.version is not None]
    yield "packages", ", ".join(found) or "none that a GPU is used through"
    if diagnosis.torch.sees_gpu is not None:
        verb = "should see the GPU" if diagnosis.torch.sees_gpu else "sees no GPU"
        yield "torch", f"{verb}: {diagnosis.torch.reason}"


def _state(state: StateFacts) -> Iterator[tuple[str, str]]:
    if state.power_mode is not None:
        yield "power mode", state.power_mode
    governor = f", governor {state.governor}" if state.governor else ""
    yield "CPU clock", f"{_clock(state.cpu_clock_mhz, state.cpu_highest_mhz)}{governor}"
    if state.gpu_clock_mhz is not None:
        yield "GPU clock", _clock(state.gpu_clock_mhz, state.gpu_highest_mhz)
    hottest = sorted((state.temperatures_c or {}).items(), key=lambda zone: -zone[1])
    told = ", ".join(f"{name} {degrees:g}" for name, degrees in hottest[:_HOTTEST])
    more = f", {len(hottest) - _HOTTEST} cooler" if len(hottest) > _HOTTEST else ""
    yield "degrees C", f"{told}{more}" if told else f"not known: {state.reasons['temperatures_c']}"
    if state.held_down is None:
        yield "held down by", f"not known: {state.reasons['held_down']}"
    else:
        yield "held down by", "; ".join(state.held_down) or "nothing"


def _clock(now_mhz: float | None, highest_mhz: float | None) -> str:
    now = "not known" if now_mhz is None else f"{now_mhz:,.0f} MHz"
    return now if highest_mhz is None else f"{now} of {highest_mhz:,.0f} MHz"


def _backends(states: tuple[BackendState, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="")
    for column in ("backend", "version", "builds", "runs"):
        table.add_column(_text(column), overflow="fold")
    for state in states:
        built = " ".join(name for name, each in state.precisions.items() if each.usable)
        simulated = " (simulated)" if state.simulated else ""
        table.add_row(
            _text(state.name),
            _text(f"{state.version or '-'}{simulated}"),
            _text(built or "no", "" if built else "dim"),
            _text("yes" if state.runs.usable else "no", "green" if state.runs.usable else "dim"),
        )
    return table


def _lacks(state: BackendState) -> Iterator[str]:
    if not state.builds.usable:
        yield f"{state.name} does not build: {state.builds.reason}"
    for precision, found in state.precisions.items():
        if state.builds.usable and not found.usable:
            yield f"{state.name} does not build {precision}: {found.reason}; {found.remedy}"
    if state.builds.usable and not state.runs.usable:
        yield f"{state.name} does not run: {state.runs.reason}"


def _steps(diagnosis: Diagnosis) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    if not diagnosis.steps:
        return _text("nothing: every backend builds and runs here")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(min_width=9)
    grid.add_column(overflow="fold")
    for step in diagnosis.steps:
        label, style = _LABELS[step.kind]
        # A command begins a line of its own, so that it can be copied whole.
        lead, colon, command = step.remedy.partition(": ")
        remedy = [_text(lead + colon.rstrip(), "" if colon else "bold"), *([_text(command, "bold")] if colon else [])]
        grid.add_row(_text(label, style), Group(_text(f"{step.about}: {step.reason}"), *remedy))
    return grid
