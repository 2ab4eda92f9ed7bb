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
@click.option(
    "--against",
    metavar="OTHER",
    help="Say whether the engines are faster than another: openvino-fp32 of this run folder, or an engine's folder.",
)
@click.option("--pairs", type=click.IntRange(min=20), default=40, help="Pairs of windows with --against; default 40.")
@valid_option
@again_option
@json_option
def measure(
    asked: Asked,
    backend: tuple[str, ...] | None,
    precision: tuple[str, ...] | None,
    batch: tuple[int, ...] | None,
    profile: str | None,
    against: str | None,
    pairs: int,
    require_valid: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Measure latency, throughput, memory and energy of the engines on this device."""
    from harness.cli.opening import opened
    from harness.cli.showing import show

    settings = {"batch": batch, "profile": profile}
    with opened(asked, {"build": {"backend": backend, "precision": precision}, "measure": settings}) as journey:
        folders = journey.results(
            ["measure"], again=again, require_valid=require_valid, against=(against, pairs) if against else None
        )
    show(folders, as_json)
