"""`harness report`: show what the results folder holds; nothing is evaluated or measured."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import json_option, workspace_option


@click.command()
@click.argument("experiment", required=False)
@workspace_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The page; default report.html in it.")
@json_option
def report(experiment: str | None, workspace: Path | None, output: Path | None, as_json: bool) -> None:
    """Print the newest results of a run folder and write its HTML page."""
    from harness.cli.showing import show, write_page
    from harness.workflow.settings import resolve
    from reports.store import latest, read_results

    folder = workspace or resolve(experiment, None, ()).workspace
    newest = latest(read_results(folder))
    page = write_page(folder, output)
    show([result.folder for result in newest], as_json)
    click.echo(f"report: {page}", err=True)
