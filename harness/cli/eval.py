"""`harness eval`: clean and adversarial accuracy of engines."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import (
    Asked,
    again_option,
    calibration_options,
    engine_options,
    evaluation_options,
    experiment_options,
    json_option,
)


@click.command("eval")
@experiment_options
@calibration_options
@engine_options
@evaluation_options
@again_option
@json_option
def evaluate(
    asked: Asked,
    backend: tuple[str, ...] | None,
    precision: tuple[str, ...] | None,
    evaluation: dict[str, Any],
    again: bool,
    as_json: bool,
) -> None:
    """Measure clean and adversarial accuracy of the engines."""
    from harness.cli.opening import opened
    from harness.cli.showing import show

    engines = {"backend": backend, "precision": precision}
    with opened(asked, {"build": engines, "eval": evaluation}) as journey:
        folders = journey.results(["eval"], again=again)
    show(folders, as_json)
