"""`harness quantize`: ranges, what each layer costs, and which layers stay in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.options import Asked, again_option, calibration_options, experiment_options

if TYPE_CHECKING:
    from harness.workflow.stages.keep_float import MixedPrecision
    from harness.workflow.stages.sensitivity import Sensitivity


@click.command()
@experiment_options
@calibration_options
@click.option("--sensitivity", "ranked", is_flag=True, help="Rank layers by what quantizing each one alone costs.")
@click.option(
    "--keep-float", help="Layers that stay in float, with commas between; auto keeps as few as needed, '' none."
)
@click.option("--max-drop", type=float, help="Points of clean and robust accuracy that auto may lose; default 0.5.")
@again_option
def quantize(asked: Asked, ranked: bool, keep_float: str | None, max_drop: float | None, again: bool) -> None:
    """Place the quantizers and calibrate their ranges. What is missing before it is made first."""
    from harness.cli.opening import opened

    kept = (
        keep_float if keep_float in (None, "auto") else [name.strip() for name in keep_float.split(",") if name.strip()]
    )
    asked = asked.overridden([("quantize.keep_float", kept), ("quantize.max_drop", max_drop)])
    with opened(asked) as journey:
        journey.make("quantize", again=again)
        if ranked:
            _print_ranking(journey.sensitivity(again=again))
        if (mixed := journey.mixed_precision()) is not None:
            _print_mixed(mixed)


def _print_ranking(found: Sensitivity) -> None:
    from rich.console import Console
    from rich.table import Table

    click.echo(
        f"what quantizing one layer alone costs, in points of accuracy ({found.images} training images that did not "
        f"calibrate, the model before fine-tuning; float: clean {100 * found.clean:.2f} %, "
        f"robust {100 * found.robust:.2f} %)"
    )
    table = Table()
    table.add_column("layer", overflow="fold")
    table.add_column("clean", justify="right")
    table.add_column("robust", justify="right")
    for cost in found.costs:
        table.add_row(cost.layer, f"{cost.clean:+.2f}", f"{cost.robust:+.2f}")
    Console().print(table)


def _print_mixed(mixed: MixedPrecision) -> None:
    click.echo(
        f"all {mixed.layers} layers quantized cost {mixed.all_quantized.clean:+.2f} points clean and "
        f"{mixed.all_quantized.robust:+.2f} robust ({mixed.images} training images that did not calibrate)"
    )
    if not mixed.keep_float:
        click.echo("no layer needs to stay in float")
        return
    click.echo(
        f"{len(mixed.keep_float)} of {mixed.layers} stay in float ({', '.join(mixed.keep_float)}): "
        f"{mixed.chosen.clean:+.2f} clean, {mixed.chosen.robust:+.2f} robust"
    )
    for batch, int8_ms, mixed_ms in mixed.p50_ms:
        click.echo(
            f"{mixed.backend}, batch {batch}: p50 {int8_ms:.3f} ms all INT8, {mixed_ms:.3f} ms mixed "
            f"({100 * (mixed_ms / int8_ms - 1):+.1f} %)"
        )
    for doubt in mixed.doubts:
        click.echo(f"these times are not valid: {doubt}")
    if not mixed.p50_ms:
        click.echo("no times: no INT8 engine can be built of this width, or by this backend")
