"""How far built engines are from their graphs, beside the limits: `python benchmarks/agreement.py [NETWORK …]`.

The networks of the zoo are untrained; their INT8 graphs are calibrated on the images that engines are checked on.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from contracts.errors import InputError
from engines.backend import Precision
from engines.checks.agreement import agreement, error_limit
from engines.checks.probe_images import probe_count, probe_images
from engines.checks.reference import reference
from engines.engine import LoadOptions
from engines.loading import build_engine
from engines.registry import backend as find_backend

if TYPE_CHECKING:
    import onnx

NETWORKS = {
    "cnn8": (1, 28, 28),
    "resnet18": (1, 28, 28),
    "mobilenet-v2": (1, 28, 28),
    "inception": (1, 28, 28),
    "vit-tiny": (1, 28, 28),
}
ENGINES: tuple[tuple[str, Precision], ...] = (
    ("openvino", "fp32"),
    ("onnxruntime", "fp32"),
    ("torch", "fp32"),
    ("openvino", "bf16"),
    ("torch", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "int8"),
)


def graphs(name: str) -> dict[str, onnx.ModelProto]:
    """Return a network's float and INT8 graphs."""
    import torch

    from calibration.graphs.float_graph import FloatGraph
    from engines.onnxruntime.activations import activations
    from harness.models.build import build_model
    from harness.models.onnx_graph import export

    torch.manual_seed(0)
    shape = NETWORKS[name]
    floating = export(build_model(name, None, shape, 10).eval(), shape, {})
    graph = FloatGraph.of(floating)
    shown = probe_images(32, shape, seed=1)
    table = graph.calibrate(activations(floating, graph.activations), [shown], "percentile", "probe", tuple(range(32)))
    return {"float": floating, "int8": graph.quantized(table)}


def main() -> None:
    """Print a line an engine."""
    import onnx

    print(f"{'network':14}{'engine':20}{'error':>10}{'limit':>10}{'rounding':>10}  decisions changed")
    for name in sys.argv[1:] or NETWORKS:
        images = probe_images(probe_count(NETWORKS[name]), NETWORKS[name])
        with tempfile.TemporaryDirectory() as scratch:
            for kind, model in graphs(name).items():
                onnx.save(model, f"{scratch}/{kind}.onnx")
            for backend, precision in ENGINES:
                kind = find_backend(backend).graph_kind(precision)
                graph, folder = Path(scratch) / f"{kind}.onnx", Path(scratch) / f"{backend}-{precision}"
                folder.mkdir()
                expected = reference(graph, images)
                try:
                    manifest, _ = build_engine(backend, precision, graph, folder, {})
                except InputError as refusal:
                    print(f"{name:14}{f'{backend} {precision}':20}  {refusal}")
                    continue
                with find_backend(backend).engine(folder, manifest, LoadOptions(16)) as engine:
                    found = agreement(engine.infer(images), expected, precision)
                error, limit = found.error or 0.0, error_limit(precision, expected.rounding)
                changed = f"{found.changed_decisions} of {found.images} (limit {found.changed_limit})"
                engine_name = f"{backend} {precision}"
                print(f"{name:14}{engine_name:20}{error:10.2g}{limit:10.2g}{expected.rounding:10.2g}  {changed}")


if __name__ == "__main__":
    main()
