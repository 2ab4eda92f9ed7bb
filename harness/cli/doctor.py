"""`harness doctor`: what this machine can build and run, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.broken_pipe import reader_may_leave

if TYPE_CHECKING:
    from harness.workflow.diagnosis.diagnosis import Diagnosis


@click.command()
@click.option("--backend", help="auto or a backend's name: exit with 4 unless it builds and runs here; for CI.")
@click.option("--precision", help="The same, of this precision of the backend.")
@click.option("--json", "as_json", is_flag=True, help="Print the diagnosis as one JSON object.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/"),
    help="Read the system's files (/proc, /sys, /etc, …) below this folder: a recorded tree in its place.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what is read of this machine into a new folder, for a bug report: no serial number, no name.",
)
def doctor(backend: str | None, precision: str | None, as_json: bool, root: Path, record: Path | None) -> None:
    """Say what this machine can build and run, what is missing, and the command that installs it."""
    if precision is not None and backend is None:
        raise click.UsageError("--precision is one of a backend: name that too, with --backend.")
    from harness.workflow.diagnosis.diagnosis import check_names, diagnose
    from harness.workflow.diagnosis.readings import read

    check_names(backend, precision)  # a wrong name is told before anything is asked
    if record is not None:
        from harness.devices import recording
        from harness.devices.machine import Machine

        written = recording.record(Machine(root), record)
        click.echo(f"{written} files in {record}; 'harness doctor --root {record}' reads them", err=True)
    diagnosis = diagnose(read(root))
    with reader_may_leave():
        _show(diagnosis, as_json)
    if backend is not None:
        diagnosis.require(backend, precision)


def _show(diagnosis: Diagnosis, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(diagnosis.to_json(), indent=2, allow_nan=False))
        return
    from rich.console import Console

    from harness.cli.diagnosis_page import print_page

    print_page(Console(), diagnosis)
