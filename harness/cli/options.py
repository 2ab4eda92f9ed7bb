"""Options that commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Asked:
    """Which experiment, where, and how much to say.

    Attributes:
        experiment: a built-in name, a TOML file, or None for the default.
        overrides: `section.key=value` each.
        workspace: the run folder, or None for `runs/<experiment>`.
        onnx: a user's own graph in the place of the experiment's model, or None.
        data_dir: where data sets lie, or None.
        verbosity: below 0 only errors, 0 a line a stage, above 0 also what is up to date.
    """

    experiment: str | None
    overrides: tuple[str, ...]
    workspace: Path | None
    onnx: Path | None
    data_dir: Path | None
    verbosity: int

    def overridden(self, settings: Iterable[tuple[str, Any]]) -> Asked:
        """Return this with more settings, by address; None leaves a setting as it is."""
        more = tuple(f"{address}={json.dumps(value)}" for address, value in settings if value is not None)
        return replace(self, overrides=(*self.overrides, *more))


class ListOf(click.ParamType[tuple[Any, ...]]):
    """Values with commas between them."""

    def __init__(self, of: Callable[[str], Any], name: str) -> None:
        self.name = f"{name},…"
        self._of = of

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Split and convert; a value that does not convert is a usage error."""
        if not isinstance(value, str):
            return tuple(value)
        try:
            return tuple(self._of(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            return self.fail(f"{value!r} is not a list of {self.name}", param, ctx)


workspace_option = click.option(
    "--workspace", type=click.Path(path_type=Path, file_okay=False), help="The run folder; default runs/<experiment>."
)


def experiment_options(function: Function) -> Function:
    """Add what every command that works on an experiment takes; it receives `asked` in their place."""
    from functools import wraps

    @wraps(function)
    def gathered(
        experiment: str | None,
        overrides: tuple[str, ...],
        workspace: Path | None,
        onnx: Path | None,
        data_dir: Path | None,
        quiet: bool,
        verbose: bool,
        **rest: Any,
    ) -> Any:
        asked = Asked(experiment, overrides, workspace, onnx, data_dir, verbosity=int(verbose) - int(quiet))
        return function(asked=asked, **rest)

    decorators = [
        click.argument("experiment", required=False),
        click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Override one setting."),
        workspace_option,
        click.option(
            "--onnx",
            type=click.Path(path_type=Path),
            help="Your own ONNX graph in the place of the experiment's model.",
        ),
        click.option("--data-dir", type=click.Path(path_type=Path), help="Where data sets lie."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors and results."),
        click.option("-v", "--verbose", is_flag=True, help="Also say what is up to date."),
    ]
    for decorator in reversed(decorators):
        gathered = decorator(gathered)
    return gathered  # type: ignore[return-value]


_CALIBRATION: tuple[tuple[str, str, str, type[Any], str], ...] = (
    ("--calibrator", "calibrator", "quantize.calibrator", str, "Range estimator: minmax, percentile, entropy, mse."),
    ("--calibration", "calibration", "data.calibration", str, "Calibrate on the images in this .npz or .npy file."),
    ("--calibration-samples", "calibration_samples", "data.calibration_samples", int, "How many images calibrate."),
    ("--calibration-data", "calibration_data", "quantize.calibration_data", str, "clean, adversarial or mixed."),
)


def calibration_options(function: Function) -> Function:
    """Add how ranges are found; they decide what lies in the run folder, so they are recorded like `--set`."""
    from functools import wraps

    @wraps(function)
    def gathered(asked: Asked, **rest: Any) -> Any:
        given = [(address, rest.pop(name)) for _, name, address, _, _ in _CALIBRATION]
        return function(asked=asked.overridden(given), **rest)

    for flag, name, _, kind, text in reversed(_CALIBRATION):
        gathered = click.option(flag, name, type=kind, help=text)(gathered)
    return gathered  # type: ignore[return-value]


def engine_options(function: Function) -> Function:
    """Add the choice of engines; the command receives `backend` and `precision`."""
    for decorator in (
        click.option(
            "--precision", type=ListOf(str, "precision"), help="fp32, fp16, bf16, int8; default the experiment's."
        ),
        click.option(
            "--backend", type=ListOf(str, "backend"), help="auto, openvino, onnxruntime, torch, tensorrt, tensorrt-rtx."
        ),
    ):
        function = decorator(function)
    return function


_EVALUATION = {
    "attack": click.option(
        "--attack",
        type=ListOf(str, "attack"),
        help="fgsm, pgd, apgd-ce, apgd-dlr, apgd-t, fab-t, square, rays, noise, or autoattack; several count together.",
    ),
    "norm": click.option("--norm", help="linf or l2."),
    "epsilon": click.option("--epsilon", type=ListOf(float, "number"), help="Radii, in units of the pixel range."),
    "arms": click.option("--arms", type=ListOf(str, "arm"), help="transfer, loop, query, noise."),
    "attack_images": click.option(
        "--attack-images", help="Adversarial images that 'harness export --attack-images' wrote elsewhere."
    ),
    "samples": click.option("--samples", type=click.IntRange(min=1), help="The first N images of the test split."),
}
_RECORDED = ("attack", "norm", "epsilon", "samples")
RECORDING = "--attack, --norm, --epsilon and --samples"
"""What says how attack images are made."""


def evaluation_options(function: Function) -> Function:
    """Add what an evaluation does; the command receives it as `evaluation`, settings of the section `eval`."""
    return _gathering(function, "evaluation", tuple(_EVALUATION))


def recording_options(function: Function) -> Function:
    """Add the file to record attack images in, and how: `attack_images`, and `recording` as of `evaluation_options`."""
    gathered = _gathering(function, "recording", _RECORDED)
    return click.option(
        "--attack-images",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Also write adversarial images for boards without gradients, into this .npz.",
    )(gathered)


def _gathering(function: Function, argument: str, names: tuple[str, ...]) -> Function:
    from functools import wraps

    @wraps(function)
    def gathered(**rest: Any) -> Any:
        return function(**{argument: {name: rest.pop(name) for name in names}}, **rest)

    for name in reversed(names):
        gathered = _EVALUATION[name](gathered)
    return gathered  # type: ignore[return-value]


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result documents as a JSON array.")
again_option = click.option("--again", is_flag=True, help="Do it even if it is up to date.")
valid_option = click.option("--require-valid", is_flag=True, help="Exit 3 if a measurement is not valid.")
measure_options = (
    click.option("--batch", type=ListOf(int, "integer"), help="Batch sizes."),
    click.option("--profile", help="quick (5 s a window), ci (60 s), mlperf (600 s)."),
)


def add(options: tuple[Callable[[Any], Any], ...]) -> Callable[[Function], Function]:
    """Add several options to a command."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
