"""`harness run`: the whole journey."""

from __future__ import annotations

import click

from harness.cli.options import Asked, calibration_options, experiment_options, json_option, valid_option


@click.command()
@experiment_options
@calibration_options
@valid_option
@json_option
def run(asked: Asked, require_valid: bool, as_json: bool) -> None:
    """Take a model from training to measured engines, resuming where it stopped."""
    from harness.cli.opening import opened
    from harness.cli.showing import show, write_page

    with opened(asked) as journey:
        folders = journey.results(["eval", "measure"], require_valid=require_valid)
        page = write_page(journey.folder)
    show(folders, as_json)
    click.echo(f"report: {page}", err=True)
