"""`harness train | prune | finetune | export`: one stage, and what is missing before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import (
    RECORDING,
    Asked,
    again_option,
    calibration_options,
    experiment_options,
    recording_options,
)


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


@click.command("export")
@experiment_options
@calibration_options
@recording_options
@again_option
def export(asked: Asked, recording: dict[str, Any], attack_images: Path | None, again: bool) -> None:
    """Export the final model as ONNX graphs: float, INT8, FP16 and BF16.

    What is missing before it is made first. With --attack-images also adversarial images, for 'harness eval' on a
    board that has no gradients.
    """
    from contracts.errors import InputError
    from harness.cli.opening import opened

    if attack_images is None and any(value is not None for value in recording.values()):
        raise InputError(f"{RECORDING} say what --attack-images records: add --attack-images FILE, or leave them out")
    with opened(asked, {"eval": recording}) as journey:
        if attack_images is not None:
            journey.record_attack_images(attack_images)
        journey.make("export", again=again)
