"""Export: the final model as ONNX graphs, simplified, checked, and compared with the model they came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import InputError
from contracts.files import write_text
from engines.backend import GraphKind
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.saved_models import GRAPH

if TYPE_CHECKING:
    import onnx

    from harness.compression.twin import Twin

NAME = "export"
CACHE = "tensorrt_calibration.cache"

_COMPARED = 256
# Roundings at a step's edge differ between runtimes and travel to the scores of a few images; a wrong graph changes
# many.
_CHANGED_AT_MOST = 0.01


def task(context: Context, final: Task, kind: GraphKind) -> Task:
    """Return how the float or the INT8 graph is made.

    Raises:
        InputError: the INT8 graph of a model that quantizes to another width.
    """
    from calibration.graphs.qdq import DEPLOYED_BITS

    if kind == "int8" and (bits := context.experiment.quantize.bits) != DEPLOYED_BITS:
        raise InputError(
            f"quantize.bits is {bits}, which no engine runs: widths other than {DEPLOYED_BITS} are simulated; build "
            "fp32 or bf16, or set quantize.bits=8"
        )
    return Task(
        stage=NAME,
        path=f"graphs/{kind}",
        kind="onnx",
        settings={"graph": kind},
        make=lambda folder, parents: _make(context, folder, parents, kind),
        parents=(final,),
    )


def _make(context: Context, folder: Path, parents: tuple[Artifact, ...], kind: GraphKind) -> Made:
    from calibration.graphs.qdq import store_integer_weights, translations
    from harness.compression.layer_names import name_layers
    from harness.models.onnx_graph import exported, simplified

    (final,) = parents
    channels, height, width = final.info("input_shape")
    twin = saved_models.load_twin(context, final).quantize(kind == "int8")
    with context.progress.bar(f"exporting {kind}", 2) as advance:
        program = exported(twin, (channels, height, width), translations())
        graph = store_integer_weights(simplified(program.model_proto))
        name_layers(graph, program, twin.operations)
        advance(1)
        save(graph, folder)
        parity = _compare(twin, folder / GRAPH, context.experiment.seed)
        advance(1)
    return {"input_shape": [channels, height, width], "classes": final.info("classes"), "parity": parity}


def save(graph: onnx.ModelProto, folder: Path) -> None:
    """Write a graph, and TensorRT's calibration cache beside one that quantizes activations."""
    import onnx

    from calibration.graphs.tensorrt_cache import activation_scales, cache_text

    onnx.save(graph, str(folder / GRAPH))
    if scales := activation_scales(graph):
        write_text(folder / CACHE, cache_text(scales))


def _compare(twin: Twin, graph: Path, seed: int) -> dict[str, float | int]:
    """Run model and graph on the same random images, the graph node by node as it is written.

    Raises:
        InputError: they are not the same function.
    """
    import numpy as np
    import torch

    from engines.onnxruntime.session import session

    as_written = session(graph, optimise=False)
    shape = as_written.get_inputs()[0].shape[1:]
    images = np.random.default_rng(seed).random((_COMPARED, *shape), np.float32)
    (scores,) = as_written.run(None, {"images": images})
    with torch.inference_mode():
        wanted = twin(torch.from_numpy(images)).numpy()
    changed = int((scores.argmax(axis=1) != wanted.argmax(axis=1)).sum())
    if changed > _CHANGED_AT_MOST * _COMPARED or not np.isfinite(scores).all():
        raise InputError(
            f"the exported graph decides {changed} of {_COMPARED} images differently from its model: "
            "report the model to the project"
        )
    return {
        "images": _COMPARED,
        "changed_decisions": changed,
        "median_difference": float(np.median(np.abs(scores - wanted))),
        "largest_difference": float(np.abs(scores - wanted).max()),
    }
