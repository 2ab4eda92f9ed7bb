"""`harness build`: engines of the final model."""

from __future__ import annotations

import click

from harness.cli.options import Asked, again_option, engine_options, experiment_options


@click.command()
@experiment_options
@engine_options
@click.option("--calibrator", help="Range estimator of the INT8 quantizers: minmax, percentile.")
@again_option
def build(
    asked: Asked,
    backend: tuple[str, ...] | None,
    precision: tuple[str, ...] | None,
    calibrator: str | None,
    again: bool,
) -> None:
    """Build engines of the final model."""
    from dataclasses import replace

    from harness.cli.opening import opened

    if calibrator is not None:  # it decides what lies in the run folder, so it is recorded like --set
        asked = replace(asked, overrides=(*asked.overrides, f"quantize.calibrator={calibrator}"))
    with opened(asked, {"build": {"backend": backend, "precision": precision}}) as journey:
        journey.make("build", again=again)
