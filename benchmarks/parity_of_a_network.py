"""What `parity.py` measures of one network: node by node, end to end, and TensorRT-RTX's builder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

    from harness.compression.parity import NodeParity
    from harness.compression.twin import Twin
    from harness.data.dataset import DataSet

Array = npt.NDArray[Any]

DATA = "fashion-mnist"
CALIBRATOR, CALIBRATION_IMAGES, SEED = "percentile", 512, 0

NODE_IMAGES, NODE_BATCH = 200, 20
EXACT_IMAGES = 2_000
MOVED = 1e-4


@dataclass(frozen=True)
class Found:
    """What one network showed.

    Attributes:
        steps: from one compared tensor to the next, which have `operators` in them, views and the like included.
        quantizers: compared by themselves, of the twin's `of_quantizers`.
        layers: operators that read quantizers, of which `alone` were compared by themselves.
        largest: difference of a step over the largest magnitude of its tensor, but for quantized values a step apart.
        values: quantized values compared; `one_step` apart, and `further`.
        equal: share of test images decided alike by graph and twin.
        batch_moved, graph_moved: share of scores that move by more than `MOVED` from batches of 125 to 1000 in the
            twin, and from the twin to the graph.
        twin_exact, graph_exact: likewise from the twin in float64 to the twin and to the graph.
        clean_float, clean_int8: accuracy of the float twin and of the graph; `flips` decisions differ between them.
        engine_bytes, engine_s: TensorRT-RTX's serialized engine and its build; None where it is not installed.
        refusal: TensorRT-RTX's own words where it did not build one.
    """

    steps: int
    operators: int
    quantizers: int
    of_quantizers: int
    layers: int
    alone: int
    largest: float
    values: int
    one_step: int
    further: int
    images: int
    equal: float
    batch_moved: float
    graph_moved: float
    twin_exact: float
    graph_exact: float
    clean_float: float
    clean_int8: float
    flips: int
    engine_bytes: int | None
    engine_s: float | None
    refusal: str


def measure(model: str, checkpoint: Path) -> Found:
    """Quantize after training, export, compare."""
    from calibration.graphs.qdq import store_integer_weights, translations
    from harness.compression.parity import node_parity
    from harness.data.registry import find
    from harness.models.onnx_graph import exported, simplified

    data = find(DATA).read()
    twin = quantized(model, checkpoint, data)
    written = exported(twin, data.input_shape, translations())
    graph = store_integer_weights(simplified(written.model_proto))
    images = data.test.images
    program = written.exported_program
    assert program is not None
    nodes = node_parity(program, graph, np.split(images[:NODE_IMAGES], NODE_IMAGES // NODE_BATCH))
    engine_bytes, engine_s, refusal = built(graph)
    return Found(
        **of_nodes(nodes, program, twin),
        **of_scores(twin, graph, images, data.test.labels),
        engine_bytes=engine_bytes,
        engine_s=engine_s,
        refusal=refusal,
    )


def quantized(model: str, checkpoint: Path, data: DataSet) -> Twin:
    """Return the twin of a trained network, calibrated."""
    import torch

    from harness.compression.traced import traced
    from harness.compression.twin import Twin
    from harness.data.calibration_part import calibration_indices
    from harness.models.build import build_model
    from harness.models.checkpoint import load_into, read_weights

    network = build_model(model, None, data.input_shape, data.classes)
    load_into(network, read_weights(checkpoint), checkpoint)
    twin = Twin(traced(network.eval(), data.input_shape))
    shown = data.train.images[calibration_indices(data.train.labels, CALIBRATION_IMAGES, SEED)]
    twin.calibrate(CALIBRATOR, torch.split(torch.from_numpy(shown), 64))
    return twin


def of_nodes(nodes: Sequence[NodeParity], program: ExportedProgram, twin: Twin) -> dict[str, Any]:
    """Return what the comparison node by node says."""
    quantizers = [node for node in nodes if node.quantizer]
    others = [node for node in nodes if not node.quantizer]
    return {
        "steps": len(nodes),
        "operators": sum(node.op == "call_function" for node in program.graph.nodes),
        "quantizers": sum(node.operators == 0 for node in quantizers),
        "of_quantizers": len(twin.activation_quantizers()) + len(twin.weight_quantizers()),
        "layers": sum(node.operators for node in nodes),
        "alone": sum(node.operators == 1 for node in others),
        "largest": max(node.largest for node in nodes),
        "values": sum(node.values for node in quantizers),
        "one_step": sum(node.one_step for node in quantizers),
        "further": sum(node.further for node in quantizers),
    }


def of_scores(twin: Twin, graph: onnx.ModelProto, images: Array, labels: Array) -> dict[str, Any]:
    """Return what the test images say."""
    import torch

    from engines.onnxruntime.session import session

    as_written = session(graph, optimise=False)

    def twins(batch: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(twin(torch.from_numpy(batch)))

    def graphs(batch: Array) -> Array:
        return np.asarray(as_written.run(None, {"images": batch})[0])

    small, large = scores(twins, images, 125), scores(twins, images, 1000)
    written = scores(graphs, images, 125)
    twin.quantize(False)
    unquantized = decided(scores(twins, images, 125))
    in_float64(twin.quantize(True))
    exact = scores(lambda batch: twins(batch.astype(np.float64)), images[:EXACT_IMAGES], 125)
    return {
        "images": len(images),
        "equal": float(np.mean(decided(small) == decided(written))),
        "batch_moved": moved(small, large),
        "graph_moved": moved(small, written),
        "twin_exact": moved(exact, small[:EXACT_IMAGES]),
        "graph_exact": moved(exact, written[:EXACT_IMAGES]),
        "clean_float": float(np.mean(unquantized == labels)),
        "clean_int8": float(np.mean(decided(written) == labels)),
        "flips": int(np.sum(unquantized != decided(written))),
    }


def in_float64(twin: Twin) -> None:
    """Let a twin compute in float64, in place, with the integers of its float32 weights: those may lie on edges too."""
    import torch

    with torch.no_grad():
        for name, quantizer in twin.weight_quantizers().items():
            weight = twin.network.get_parameter(name)
            weight.copy_(quantizer(weight))
    twin.double()


def scores(run: Callable[[Array], Array], images: Array, batch: int) -> Array:
    """Return a model's scores, run in batches."""
    return np.concatenate([run(images[start : start + batch]) for start in range(0, len(images), batch)])


def decided(given: Array) -> Array:
    """Return the classes that scores decide for."""
    return np.asarray(given.argmax(axis=1))


def moved(first: Array, second: Array) -> float:
    """Return the share of scores that differ by more than `MOVED`."""
    return float(np.mean(np.abs(first - second) > MOVED))


def built(graph: onnx.ModelProto) -> tuple[int | None, float | None, str]:
    """Build an engine with TensorRT-RTX: bytes, seconds, and its words where it refuses."""
    import onnx

    from contracts.errors import HarnessError, MissingDependencyError
    from engines.loading import build_engine

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        path, folder = Path(scratch) / "graph.onnx", Path(scratch) / "engine"
        onnx.save(graph, str(path))
        folder.mkdir()
        try:
            manifest, _ = build_engine("tensorrt-rtx", "int8", path, folder, {})
        except MissingDependencyError:
            return None, None, ""
        except HarnessError as error:
            return None, time.monotonic() - started, str(error)
    return manifest.engine_bytes, time.monotonic() - started, ""
