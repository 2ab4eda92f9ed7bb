"""The check that every build runs: real engines pass on every backend, a corrupted one names its layer."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest

from contracts.errors import InputError
from engines.backend import EngineManifest, Precision
from engines.checks.check import EngineChecks, check_engine
from engines.loading import build_engine
from engines.registry import backend as find_backend
from tests.engines.checks.chains import CorruptBuild, chain

pytestmark = pytest.mark.core

NO_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
ENGINES = [
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
    pytest.param("torch", "fp32", marks=NO_TORCH),
    pytest.param("torch", "bf16", marks=NO_TORCH),
]


def graph_of(folder: Path, precision: str) -> Path:
    path = folder / "graph.onnx"
    onnx.save(chain(5, quantized=precision == "int8", relu=True), str(path))
    return path


@pytest.mark.parametrize(("backend", "precision"), ENGINES)
def test_an_engine_that_computes_its_graph_passes(tmp_path: Path, backend: str, precision: Precision) -> None:
    if not find_backend(backend).availability(precision).usable:
        pytest.skip(f"no {backend} {precision} here")
    graph, folder = graph_of(tmp_path, precision), tmp_path / "engine"
    folder.mkdir()
    manifest, _ = build_engine(backend, precision, graph, folder, {})
    checks = check_engine(folder, manifest, graph, graph, {})
    assert checks.agreement.holds is True
    assert checks.warnings("it") == ()
    assert checks.rows is not None
    assert checks.batches is not None
    assert (checks.agreement.images, checks.rows.rows, checks.batches.batch) == (64, 16, 16)
    assert EngineChecks.from_json(json.loads(json.dumps(checks.to_json(), allow_nan=False))) == checks


@pytest.mark.parametrize(("backend", "precision"), [("onnxruntime", "fp32"), ("openvino", "int8")])
def test_a_corrupted_engine_is_refused_with_its_layer(tmp_path: Path, backend: str, precision: Precision) -> None:
    graph, folder, build = graph_of(tmp_path, precision), tmp_path / "engine", CorruptBuild("conv3")
    folder.mkdir()
    manifest, _ = build(backend, precision, graph, folder, {})
    with pytest.raises(InputError, match=r"does not compute what .*graph\.onnx says: .*Conv 'conv3'") as raised:
        check_engine(folder, manifest, graph, graph, {}, build=build)
    assert ("quantize.keep_float" in str(raised.value)) is (precision == "int8")


def test_an_engine_that_cannot_run_here_is_not_known(tmp_path: Path) -> None:
    graph, folder = graph_of(tmp_path, "fp32"), tmp_path / "engine"
    folder.mkdir()
    manifest, _ = build_engine("onnxruntime", "fp32", graph, folder, {})
    if not find_backend("tensorrt").runnable().usable:
        elsewhere = replace(manifest, backend="tensorrt")
        assert "does not run here" in str(not_known(check_engine(folder, elsewhere, graph, graph, {})))


def test_rebuilt_engines_are_compared(tmp_path: Path) -> None:
    graph, folder = graph_of(tmp_path, "int8"), tmp_path / "engine"
    folder.mkdir()
    manifest, _ = build_engine("openvino", "int8", graph, folder, {})
    checks = check_engine(folder, manifest, graph, graph, {}, rebuilds=2)
    assert checks.rebuilds is not None
    assert (checks.rebuilds.builds, checks.rebuilds.largest, checks.rebuilds.differing_decisions) == (3, 0.0, 0)
    assert EngineChecks.from_json(json.loads(json.dumps(checks.to_json()))) == checks

    def other(*asked: Any) -> Any:  # each build has another last layer, which a score or two survives
        return CorruptBuild("conv3")(*asked)

    checks = check_engine(folder, manifest, graph, graph, {}, rebuilds=1, build=other)
    assert checks.rebuilds is not None and checks.rebuilds.files_differ
    assert any("2 builds of one graph differ" in sentence for sentence in checks.warnings("it"))


def test_a_graph_that_the_reference_cannot_run_is_not_known(tmp_path: Path) -> None:
    graph, folder = graph_of(tmp_path, "fp32"), tmp_path / "engine"
    folder.mkdir()
    manifest, _ = build_engine("onnxruntime", "fp32", graph, folder, {})
    foreign = onnx.load(str(graph))
    foreign.graph.node[-1].op_type = "NoSuchOperator"
    onnx.save(foreign, str(tmp_path / "foreign.onnx"))
    checks = check_engine(folder, manifest, graph, tmp_path / "foreign.onnx", {})
    assert "ONNX Runtime cannot run" in str(not_known(checks))


def not_known(checks: EngineChecks) -> str | None:
    assert checks.agreement.holds is None
    assert checks.rows is None
    assert checks.batches is None
    assert len(checks.warnings("it")) == 1
    assert EngineChecks.from_json(checks.to_json()) == checks
    return checks.agreement.reason


def test_a_layer_that_cannot_be_searched_for_leaves_the_refusal(tmp_path: Path) -> None:
    graph, folder, build = graph_of(tmp_path, "fp32"), tmp_path / "engine", CorruptBuild("conv3")
    folder.mkdir()
    manifest, _ = build("onnxruntime", "fp32", graph, folder, {})

    def refuse(*_: object) -> tuple[EngineManifest, None]:
        raise InputError("the builder crashed")

    with pytest.raises(InputError, match=r"does not compute .* was not found \(the builder crashed\)"):
        check_engine(folder, manifest, graph, graph, {}, build=refuse)


def test_checks_that_are_not_whole_are_refused() -> None:
    with pytest.raises(InputError, match="not whole"):
        EngineChecks.from_json({"rows": None})
