"""A user's ONNX file: read and made plain, and its INT8 graph, without torch."""

from __future__ import annotations

import math
from pathlib import Path

from calibration.table import CalibrationTable
from contracts.errors import InputError
from contracts.files import sha256_file
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, ExternalInput, Made, Task
from harness.workflow.calibration_images import source
from harness.workflow.context import Context
from harness.workflow.stages import export


def float_task(context: Context) -> Task:
    """Return how the file becomes the float graph; its images may fix what the file leaves free."""
    path = Path(context.experiment.model.onnx or "")
    images = context.experiment.data.calibration
    return Task(
        stage=export.NAME,
        path="graphs/float",
        kind="onnx",
        settings={"graph": "float", "given": path.name},
        make=lambda folder, _: _read(context, folder, path),
        inputs=(
            ExternalInput("ONNX file", lambda: sha256_file(path) if path.is_file() else None),
            *((source(context),) if images is not None else ()),
        ),
    )


def int8_task(float_graph: Task, ranges: Task) -> Task:
    """Return how the float graph gets its Q/DQ pairs."""
    return Task(
        stage=export.NAME,
        path="graphs/int8",
        kind="onnx",
        settings={"graph": "int8"},
        make=_insert,
        parents=(float_graph, ranges),
    )


def _read(context: Context, folder: Path, path: Path) -> Made:
    import onnx

    from engines.loading import graph_signature
    from harness.data.images_file import read_images
    from harness.models.onnx_file import read_given

    shape: tuple[int, int, int] | None = None
    if (given := context.experiment.data.calibration) is not None:
        channels, height, width = read_images(Path(given)).shape[1:]
        shape = (channels, height, width)
    graph = read_given(path, shape)
    export.save(graph, folder)
    input_shape, classes = graph_signature(folder / saved_models.GRAPH)
    return {
        "input_shape": list(input_shape),
        "classes": classes,
        "macs": _macs(folder / saved_models.GRAPH),
        "parameters": sum(
            math.prod(tensor.dims) for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
        ),
    }


def _macs(graph: Path) -> int | None:
    from engines.macs import multiplying_layers

    try:
        return sum(layer.macs for layer in multiplying_layers(graph))
    except InputError:  # a shape that cannot be inferred is no reason to refuse the graph
        return None


def _insert(folder: Path, parents: tuple[Artifact, ...]) -> Made:
    from calibration.graphs.float_graph import FloatGraph

    float_graph, ranges = parents
    table = CalibrationTable.read(ranges.folder / saved_models.TABLE)
    given = FloatGraph.of(saved_models.load_graph(float_graph), table.keep_float)
    export.save(given.quantized(table), folder)
    return {key: float_graph.info(key) for key in ("input_shape", "classes")}
