"""`harness measure`: latency and memory of engines on this device."""

from __future__ import annotations

import click

from harness.cli.options import (
    Asked,
    add,
    again_option,
    calibration_options,
    engine_options,
    experiment_options,
    json_option,
    measure_options,
    valid_option,
)


@click.command()
@experiment_options
@calibration_options
@engine_options
@add(measure_options)
@valid_option
@again_option
@json_option
def measure(
    asked: Asked,
    backend: tuple[str, ...] | None,
    precision: tuple[str, ...] | None,
    batch: tuple[int, ...] | None,
    profile: str | None,
    require_valid: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Measure latency, throughput and memory of the engines on this device."""
    from harness.cli.opening import opened
    from harness.cli.showing import show

    settings = {"batch": batch, "profile": profile}
    with opened(asked, {"build": {"backend": backend, "precision": precision}, "measure": settings}) as journey:
        folders = journey.results(["measure"], again=again, require_valid=require_valid)
    show(folders, as_json)
