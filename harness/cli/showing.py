"""Showing results: the terminal report, the documents, the page."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

PAGE = "report.html"


def show(folders: Sequence[Path], as_json: bool) -> None:
    """Print results, as the terminal report or as one JSON array of documents."""
    from reports.store import StoredResult, read_result

    results: list[StoredResult] = [read_result(folder) for folder in folders]
    try:
        if as_json:
            click.echo(json.dumps([result.document.model_dump(mode="json") for result in results], indent=2))
        else:
            from rich.console import Console

            from reports.terminal import print_report

            print_report(Console(), results)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader left (`| head`); rich and click would end with 1, which reads as a failed gate.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
