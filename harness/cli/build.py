"""`harness build`: engines of the final model."""

from __future__ import annotations

import click

from harness.cli.options import Asked, again_option, calibration_options, engine_options, experiment_options


@click.command()
@experiment_options
@calibration_options
@engine_options
@again_option
def build(
    asked: Asked,
    backend: tuple[str, ...] | None,
    precision: tuple[str, ...] | None,
    again: bool,
) -> None:
    """Build engines of the final model."""
    from harness.cli.opening import opened

    with opened(asked, {"build": {"backend": backend, "precision": precision}}) as journey:
        journey.make("build", again=again)
