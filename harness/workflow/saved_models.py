"""Models as the stages hand them to each other: a checkpoint, the channels that were cut, a calibration table."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from calibration.table import CalibrationTable
from contracts.files import read_json, write_text
from harness.models.build import build_model
from harness.models.checkpoint import load_into, read_weights, save_weights

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from torch import nn

    from harness.compression.pruning import History
    from harness.compression.twin import Twin
    from harness.workflow.artifact import Artifact
    from harness.workflow.context import Context

WEIGHTS = "weights.safetensors"
STRUCTURE = "pruning.json"
TABLE = "calibration.json"
GRAPH = "graph.onnx"


def untrained(context: Context, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return the experiment's model as its seed draws it."""
    import torch

    torch.manual_seed(context.experiment.seed)
    model = context.experiment.model
    return build_model(model.name, model.factory, input_shape, classes)


def save(folder: Path, model: nn.Module) -> None:
    """Write a model's weights."""
    save_weights(model.state_dict(), folder / WEIGHTS)


def save_structure(folder: Path, history: History) -> None:
    """Write which channels were cut."""
    write_text(folder / STRUCTURE, json.dumps(history) + "\n")


def copy_structure(checkpoint: Artifact, folder: Path) -> None:
    """Copy which channels were cut, where any were."""
    if (structure := checkpoint.folder / STRUCTURE).exists():
        shutil.copyfile(structure, folder / STRUCTURE)


def load(context: Context, artifact: Artifact) -> nn.Module:
    """Return the model of a base or pruned checkpoint, in evaluation mode."""
    model = _structure(context, artifact)
    path = artifact.folder / WEIGHTS
    load_into(model, read_weights(path), path)
    return model.eval()


def load_twin(context: Context, final: Artifact) -> Twin:
    """Return the twin of the final checkpoint, with its scales, quantizers on."""
    twin = calibrated(_structure(context, final).eval(), final, CalibrationTable.read(final.folder / TABLE))
    twin.load_weights(read_weights(final.folder / WEIGHTS))
    return twin


def calibrated(model: nn.Module, checkpoint: Artifact, table: CalibrationTable) -> Twin:
    """Return the twin of a model whose checkpoint this is, with a table's scales, quantizers on."""
    from harness.compression.traced import traced
    from harness.compression.twin import Twin

    channels, height, width = checkpoint.info("input_shape")
    return Twin(traced(model, (channels, height, width)), table.bits, table.keep_float).load_table(table)


def load_graph(artifact: Artifact) -> onnx.ModelProto:
    """Return the ONNX graph of an artifact."""
    import onnx

    return onnx.load(str(artifact.folder / GRAPH))


def _structure(context: Context, artifact: Artifact) -> nn.Module:
    """Return the untrained model with the channels cut that the artifact's were cut."""
    channels, height, width = artifact.info("input_shape")
    model = untrained(context, (channels, height, width), artifact.info("classes"))
    if (artifact.folder / STRUCTURE).exists():
        from harness.compression.pruning import replay

        cut = [(layer, out, rows) for layer, out, rows in read_json(artifact.folder / STRUCTURE, "pruning")]
        replay(model, cut)
    return model
