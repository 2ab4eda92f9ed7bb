"""`harness train | prune | finetune | export`: one stage, and what is missing before it."""

from __future__ import annotations

import click

from harness.cli.options import Asked, again_option, calibration_options, experiment_options


def _command(stage: str, does: str) -> click.Command:
    @click.command(stage, help=f"{does} What is missing before it is made first.")
    @experiment_options
    @calibration_options
    @again_option
    def command(asked: Asked, again: bool) -> None:
        from harness.cli.opening import opened

        with opened(asked) as journey:
            journey.make(stage, again=again)

    return command


train = _command("train", "Train the base model.")
prune = _command("prune", "Prune whole channels of the base model.")
finetune = _command("finetune", "Fine-tune the model through its quantizers.")
export = _command("export", "Export the final model as ONNX graphs: float, INT8, FP16 and BF16.")
