"""Showing results: the terminal report, the documents, the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.broken_pipe import reader_may_leave

PAGE = "report.html"


def show(folders: Sequence[Path], as_json: bool) -> None:
    """Print results, as the terminal report or as one JSON array of documents."""
    from reports.store import StoredResult, read_result

    results: list[StoredResult] = [read_result(folder) for folder in folders]
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps([result.document.model_dump(mode="json") for result in results], indent=2))
        else:
            from rich.console import Console

            from reports.terminal import print_report

            print_report(Console(), results)


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
