"""Sensitivity: what quantizing each layer alone costs in clean and in robust accuracy, the most costly first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.table import CalibrationTable
from contracts.errors import InputError
from contracts.files import read_json, write_json
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.calibration_images import CALIBRATION_DATA
from harness.workflow.context import Context
from harness.workflow.judging_attack import judging_attack
from harness.workflow.stages import quantize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.compression.twin import Twin
    from harness.data.dataset import Split

NAME = "sensitivity"
RANKING = "sensitivity.json"


@dataclass(frozen=True)
class Cost:
    """What quantizing a layer alone costs, in points (percent) of accuracy against the float model; below 0 it gains.

    Attributes:
        layer: its name.
        clean: points of clean accuracy.
        robust: points of robust accuracy under the experiment's first attack along gradients.
    """

    layer: str
    clean: float
    robust: float

    @property
    def worse(self) -> float:
        """The larger of both costs."""
        return max(self.clean, self.robust)


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing each layer alone costs.

    Attributes:
        costs: the most costly first.
        images: how many training images judged, none of which calibrated.
        clean: the float model's accuracy on them, as a fraction.
        robust: its robust accuracy on them.
    """

    costs: tuple[Cost, ...]
    images: int
    clean: float
    robust: float


def task(context: Context, pruned: Task, calibrated: Task) -> Task:
    """Return how the ranking is made."""
    return Task(
        stage=quantize.NAME,
        path="calibration/sensitivity",
        kind="sensitivity",
        settings=settings(context),
        make=lambda folder, parents: _make(context, folder, parents),
        parents=(pruned, calibrated),
        inputs=(context.data_input,),
    )


def settings(context: Context) -> Mapping[str, Any]:
    """Return every setting that decides what a quantized model is judged by."""
    experiment = context.lasting
    return {
        "seed": experiment.seed,
        "samples": experiment.quantize.sensitivity_samples,
        **judging_attack(experiment).settings,
    }


def read(artifact: Artifact) -> Sensitivity:
    """Return what the stage found out."""
    costs = tuple(Cost(**cost) for cost in read_json(artifact.folder / RANKING, "sensitivity ranking"))
    return Sensitivity(costs, artifact.info("images"), **artifact.info("float"))


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...]) -> Made:
    pruned, calibrated = parents
    judged = Judged(context, pruned, CalibrationTable.read(calibrated.folder / saved_models.TABLE))
    layers = judged.layers
    costs = []
    with context.progress.bar("quantizing each layer alone", len(layers)) as advance:
        for layer in layers:
            costs.append(judged.cost(layer, set(layers) - {layer}))
            advance(1)
    costs.sort(key=lambda cost: cost.worse, reverse=True)
    write_json(folder / RANKING, [asdict(cost) for cost in costs])
    return {"layers": len(costs), "images": judged.images, "float": judged.float_accuracy}


class Judged:
    """A model whose quantized versions are judged on training images that did not calibrate, each by attacks on itself.

    Args:
        context: of the experiment.
        checkpoint: the float model's.
        table: scales of every layer.
    """

    def __init__(self, context: Context, checkpoint: Artifact, table: CalibrationTable) -> None:
        from harness.compression.traced import traced

        self._context = context
        self._table = table
        channels, height, width = checkpoint.info("input_shape")
        self._network = traced(saved_models.load(context, checkpoint), (channels, height, width))
        self._split = _not_calibrating(context, table)
        twin = self.twin(())
        self.layers = tuple(dict.fromkeys(place.operation for place in twin.places))
        self._float = self._accuracy(twin.quantize(False))

    @property
    def images(self) -> int:
        """How many images judge."""
        return len(self._split)

    @property
    def float_accuracy(self) -> Mapping[str, float]:
        """The float model's own clean and robust accuracy, fractions."""
        return dict(zip(("clean", "robust"), self._float, strict=True))

    def cost(self, title: str, keep_float: Iterable[str]) -> Cost:
        """Return what quantizing all layers but these costs."""
        clean, robust = self._accuracy(self.twin(keep_float))
        return Cost(title, 100 * (self._float[0] - clean), 100 * (self._float[1] - robust))

    def twin(self, keep_float: Iterable[str]) -> Twin:
        """Return the twin with these layers in float, its scales the table's."""
        from harness.compression.twin import Twin

        # Layers that the table leaves out stay in float too: it has no scales for them.
        twin = Twin(self._network, self._table.bits, {*keep_float, *self._table.keep_float})
        return twin.load_scales(self._table.tensors)

    def _accuracy(self, twin: Twin) -> tuple[float, float]:
        from harness.robustness.model_accuracy import clean_and_robust

        right, robust = clean_and_robust(twin.requires_grad_(False), self._split, judging_attack(self._context.lasting))
        return float(right.mean()), float(robust.mean())


def _not_calibrating(context: Context, table: CalibrationTable) -> Split:
    """Return training images, balanced over the classes, that did not calibrate: the test split stays unseen."""
    from harness.data.calibration_part import calibration_indices

    train = context.data.train
    # A file's images have indices of their own.
    seen = table.sample_ids if table.images in CALIBRATION_DATA else ()
    rest = np.setdiff1d(np.arange(len(train)), np.array(seen, np.int64))
    if len(rest) == 0:
        raise InputError(
            f"all {len(train)} training images calibrate, so that none is left to judge layers by: lower "
            "data.calibration_samples"
        )
    count = min(context.lasting.quantize.sensitivity_samples, len(rest))
    return train.take(rest[calibration_indices(train.labels[rest], count, context.lasting.seed)])
