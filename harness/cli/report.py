"""`harness report`: show what the results folder holds; reads only."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import json_option, workspace_option

PAGE = "report.html"


@click.command()
@click.argument("experiment", required=False)
@workspace_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The page; default report.html in it.")
@json_option
def report(experiment: str | None, workspace: Path | None, output: Path | None, as_json: bool) -> None:
    """Print the newest results of a run folder and write its HTML page."""
    from harness.cli.opening import show
    from harness.workflow.settings import resolve
    from reports.store import latest, read_results

    folder = workspace or resolve(experiment, None, ()).workspace
    newest = latest(read_results(folder))
    page = write_page(folder, output)
    show([result.folder for result in newest], as_json)
    click.echo(f"report: {page}", err=True)


def write_page(folder: Path, output: Path | None = None) -> Path:
    """Write the page of a run folder's newest results and return its path.

    Raises:
        InputError: there are no results, or one is damaged.
    """
    from reports.html import write_html
    from reports.store import latest, read_results

    page = output or folder / PAGE
    write_html(latest(read_results(folder)), page)
    return page
