"""`harness eval`: clean and adversarial accuracy of engines."""

from __future__ import annotations

import click

from harness.cli.options import (
    Asked,
    add,
    again_option,
    calibration_options,
    engine_options,
    eval_options,
    experiment_options,
    json_option,
)


@click.command("eval")
@experiment_options
@calibration_options
@engine_options
@add(eval_options)
@again_option
@json_option
def evaluate(
    asked: Asked,
    backend: tuple[str, ...] | None,
    precision: tuple[str, ...] | None,
    attack: tuple[str, ...] | None,
    epsilon: tuple[float, ...] | None,
    arms: tuple[str, ...] | None,
    samples: int | None,
    again: bool,
    as_json: bool,
) -> None:
    """Measure clean and adversarial accuracy of the engines."""
    from harness.cli.opening import opened
    from harness.cli.showing import show

    settings = {"attack": attack, "epsilon": epsilon, "arms": arms, "samples": samples}
    with opened(asked, {"build": {"backend": backend, "precision": precision}, "eval": settings}) as journey:
        folders = journey.results(["eval"], again=again)
    show(folders, as_json)
