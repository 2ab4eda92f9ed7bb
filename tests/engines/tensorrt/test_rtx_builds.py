"""Real builds by TensorRT-RTX, which needs no GPU for them. That these engines run is not shown here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from calibration.graphs.float_graph import FloatGraph
from calibration.graphs.typed import typed
from contracts.errors import MissingDependencyError
from engines.backend import EngineManifest, Precision
from engines.cuda.driver import Gpu, find_gpu
from engines.engine import LoadOptions
from engines.loading import load_engine
from engines.making import EngineRequest
from engines.onnxruntime.activations import activations
from harness.workflow.building import made

pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx")

NETWORKS = {
    "cnn8": (1, 28, 28),
    "resnet18": (3, 32, 32),
    "mobilenet-v2": (3, 32, 32),
    "inception": (3, 32, 32),
    "vit-tiny": (3, 32, 32),
}
PROFILES = {"profiles": [[1, 8, 64]]}


def graphs(name: str) -> dict[Precision, onnx.ModelProto]:
    """Return an untrained network's graphs, the INT8 one calibrated on noise."""
    import torch

    from harness.models.build import build_model
    from harness.models.onnx_graph import export

    torch.manual_seed(0)
    floating = export(build_model(name, None, NETWORKS[name], 10).eval(), NETWORKS[name], {})
    graph = FloatGraph.of(floating)
    noise = np.random.default_rng(0).random((8, *NETWORKS[name]), np.float32)
    table = graph.calibrate(activations(floating, graph.activations), [noise], "minmax", "noise", tuple(range(8)))
    half = typed(floating, "fp16", {}).model
    return {"fp32": floating, "fp16": half, "int8": graph.quantized(table)}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_built_and_int8_weights_take_a_quarter(name: str, tmp_path: Path) -> None:
    manifests: dict[str, EngineManifest] = {}
    for precision, graph in graphs(name).items():
        onnx.save(graph, str(tmp_path / f"{precision}.onnx"))
        (tmp_path / precision).mkdir()
        told: list[float] = []
        request = EngineRequest("tensorrt-rtx", precision, tmp_path / f"{precision}.onnx", PROFILES)
        engine = made(request, tmp_path / precision, told.append)
        manifests[precision] = engine.manifest
        assert engine.layers is not None and engine.layers["layers"]
        assert told and told == sorted(told)
    assert manifests["int8"].weights_bytes <= 0.30 * manifests["fp32"].weights_bytes
    assert manifests["fp16"].weights_bytes <= 0.55 * manifests["fp32"].weights_bytes
    audit = manifests["int8"].audit
    assert audit is not None and audit.source == "TensorRT-RTX: the builder's own words, for batches tuned to 8"
    assert audit.int8_mac_share == 1.0, audit


def test_an_engine_that_cannot_run_here_says_what_is_missing(tmp_path: Path) -> None:
    if isinstance(find_gpu(), Gpu):
        pytest.skip("here is a GPU")
    from tests.engines.tiny_graphs import built as tiny

    manifest = tiny("tensorrt-rtx", "int8", tmp_path / "engine")
    assert manifest.audit is not None and manifest.audit.int8_mac_share == 1.0
    with pytest.raises(MissingDependencyError, match=r"tensorrt-rtx does not run here: .*driver.*install"):
        load_engine(tmp_path / "engine", LoadOptions())
