"""`harness study`: a grid of compressed and fine-tuned models, each measured on its engine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts.errors import GateFailedError, InputError
from harness.cli.broken_pipe import reader_may_leave
from harness.cli.options import ListOf

if TYPE_CHECKING:
    from harness.study.cell import Cell
    from harness.study.folder import StudyFolder
    from harness.study.plan import Plan


@click.command()
@click.argument("study", required=False, default="fashion-mnist")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the study lies; default studies/<its name>.",
)
@click.option("--seeds", type=click.IntRange(min=1), help="The first so many seeds of the study.")
@click.option(
    "--levels", type=ListOf(str, "LEVEL"), default=(), help="Only these sparsities and formats: 0.5,0.8,int8."
)
@click.option("--best", "conditions", multiple=True, metavar="CONDITION", help="Find the smallest engine that holds.")
@click.option("--objective", default="memory.engine_bytes", help="What is to be small with --best.")
@click.option("--list", "listed", is_flag=True, help="Print the cells and what came of each; make nothing.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data sets lie.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors and the table.")
def study(
    study: str,
    folder: Path | None,
    seeds: int | None,
    levels: tuple[str, ...],
    conditions: tuple[str, ...],
    objective: str,
    listed: bool,
    data_dir: Path | None,
    quiet: bool,
) -> None:
    """Make the cells of STUDY that are not finished; print and write what came of all.

    STUDY is a built-in name (fashion-mnist, digits) or a TOML file. Every cell is a run folder; a study that was
    stopped goes on where it was, and --seeds and --levels cut it. --best answers from what is finished:

    harness study --best 'accuracy.clean >= 0.88' --best 'latency[batch=1].p99_ms <= 1'
    """
    from harness.study.cell import cut
    from harness.study.document import outcome
    from harness.study.folder import StudyFolder
    from harness.study.plan import read_plan

    plan = read_plan(study)
    place = StudyFolder(folder or Path("studies") / Path(study).stem)
    cells = cut(plan.grid(), seeds, levels)
    if conditions:
        _print_best(plan, place, cells, conditions, objective)
    elif listed:
        for cell in cells:
            found = outcome(plan, place, cell)
            told = [found["reason"]] if found["reason"] else found.get("doubts", [])
            click.echo(f"{found['state']:<9} {cell.name}" + (f": {'; '.join(told)}" if told else ""))
    else:
        _run(plan, place, cells, data_dir, quiet)


def _run(plan: Plan, place: StudyFolder, cells: list[Cell], data_dir: Path | None, quiet: bool) -> None:
    """Make the cells, write the document after each, the page at the end, however that comes."""
    from harness.cli.opening import progress_on, stderr_console
    from harness.study.document import FEATURES, write_document, write_page
    from harness.study.features import write_embedding
    from harness.study.running import Study
    from harness.workflow.run_folder import locked

    console = stderr_console()
    command = shlex.join(["harness", *sys.argv[1:]])

    def say(sentence: str) -> None:
        if not quiet:
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def write() -> None:
        write_document(plan, place, command)

    with locked(place.path):
        running = Study(plan, place, data_dir, progress_on(console, -1 if quiet else 0), say, command, write)
        try:
            failures = running.run(cells)
            write_embedding(place, plan.features, place.path / FEATURES)
        finally:
            write()
            page = write_page(place)
            say(f"page: {page}")
    _show(place.path)
    if failures:
        raise InputError(f"{len(failures)} of {len(cells)} cells failed, the first is {failures[0]}; see {page}")


def _print_best(
    plan: Plan, place: StudyFolder, cells: Sequence[Cell], conditions: Sequence[str], objective: str
) -> None:
    from harness.study.document import JSON, document
    from reports.address import parse_address, parse_condition
    from reports.study.best import best

    asked, small = [parse_condition(text) for text in conditions], parse_address(objective)
    if not (place.path / JSON).exists():
        raise InputError(f"no study lies in {place.path} yet: make it first, without --best, or name another --folder")
    choice = best(document(plan, place, cells, "").cells, asked, small)
    if choice.setting is None:
        raise GateFailedError(choice.told)
    click.echo(choice.told)
    for cell in (cell for cell in choice.cells if cell.state == "finished"):
        click.echo(str(place.cell(cell.id)))


def _show(folder: Path) -> None:
    from rich.console import Console

    from harness.study.document import JSON
    from reports.study.document import read_study
    from reports.study.terminal import print_study

    with reader_may_leave():
        print_study(Console(), read_study(folder / JSON))
