"""Building and loading: names, precisions, manifests and graphs that are refused, and what is imported on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from contracts.errors import InputError, MissingDependencyError
from contracts.files import write_json
from engines import registry
from engines.backend import Availability, EngineManifest, Precision
from engines.engine import LoadOptions
from engines.loading import MANIFEST, build_engine, graph_signature, load_engine, read_manifest
from tests.engines.tiny_graphs import CLASSES, SHAPE, built, classifier, graph

pytestmark = pytest.mark.core

ROOT = Path(__file__).parents[2]

MADE = EngineManifest("openvino", "2026.0", "int8", (3, 32, 30), 10, 1000, 1500, {"streams": 1})


def run_python(code: str, *arguments: str) -> str:
    """Run a program in an interpreter of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_registry_and_the_loader_imports_no_runtime() -> None:
    code = (
        "import sys, engines.loading, engines.registry\n"
        "print(sorted({'torch', 'openvino', 'onnxruntime', 'onnx', 'tensorrt'} & set(sys.modules)))"
    )
    assert run_python(code) == "[]"


def test_engines_run_without_torch(tmp_path: Path) -> None:
    for backend in ("openvino", "onnxruntime"):
        built(backend, "int8", tmp_path / backend)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from engines.engine import LoadOptions\n"
        "from engines.loading import load_engine\n"
        "for name in ('openvino', 'onnxruntime'):\n"
        "    with load_engine(pathlib.Path(sys.argv[1]) / name, LoadOptions(2)) as engine:\n"
        "        print(engine.infer(np.zeros((3, *engine.input_shape), np.float32)).shape)\n"
        "print('torch' in sys.modules)"
    )
    assert run_python(code, str(tmp_path)).splitlines() == [f"(3, {CLASSES})"] * 2 + ["False"]


def test_a_manifest_survives_the_disk(tmp_path: Path) -> None:
    write_json(tmp_path / MANIFEST, {"engine": MADE.to_json(), "other": 1})
    assert read_manifest(tmp_path) == MADE


@pytest.mark.parametrize(
    "change",
    [
        {"classes": "10"},
        {"backend": ["openvino"]},
        {"input_shape": [3, 32]},
        {"input_shape": 3},
        {"options": None},
        {"surprise": 1},
    ],
)
def test_a_manifest_that_is_not_whole_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write_json(tmp_path / MANIFEST, {"engine": {**MADE.to_json(), **change}})
    with pytest.raises(InputError, match="manifest is not whole"):
        load_engine(tmp_path, LoadOptions())


# Manifests of older engines lack what has a default.
REQUIRED = [
    field.name for field in fields(EngineManifest) if field.default is MISSING and field.default_factory is MISSING
]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_manifest_without_one_of_its_keys_is_refused(tmp_path: Path, key: str) -> None:
    value = MADE.to_json()
    del value[key]
    write_json(tmp_path / MANIFEST, {"engine": value})
    with pytest.raises(InputError, match=f"manifest is not whole .*{key}.*build the engine again"):
        load_engine(tmp_path, LoadOptions())


@pytest.mark.parametrize("text", [json.dumps({"engine": None}), json.dumps([]), '{"engine": {'])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json (describes no engine|is not whole JSON)"):
        load_engine(tmp_path, LoadOptions())


def test_a_folder_without_an_engine_names_the_command_that_builds_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no engine in .*'harness build'"):
        load_engine(tmp_path, LoadOptions())


def test_an_unknown_backend_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown backend 'opnvino'; did you mean 'openvino'.* onnxruntime"):
        registry.building_backend("opnvino", "fp32")


@pytest.mark.parametrize(
    ("backend", "precision", "has"),
    [
        ("openvino", "fp16", "fp32, bf16, int8"),
        ("onnxruntime", "bf16", "fp32, int8"),
        ("torch", "int8", "fp32, bf16"),
    ],
)
def test_a_precision_that_a_backend_lacks_is_refused_with_those_that_it_has(
    backend: str, precision: Precision, has: str
) -> None:
    with pytest.raises(InputError, match=f"{backend} has no {precision} here: it has {has}"):
        registry.building_backend(backend, precision)


def test_an_unknown_precision_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown precision 'int4'; did you mean 'int8'"):
        registry.backend("openvino").check_precision("int4")


def test_a_backend_that_does_not_work_here_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.openvino.backend import OpenVINO

    away = Availability(False, "openvino does not import", "install it with: pip install openvino")
    monkeypatch.setattr(OpenVINO, "availability", lambda self, precision=None: away)
    with pytest.raises(MissingDependencyError, match=r"openvino \(fp32\) does not build here: .* pip install openvino"):
        registry.building_backend("openvino", "fp32")


def test_auto_is_resolved_with_a_reason_and_other_names_are_kept() -> None:
    name, reason = registry.choose(registry.AUTO)
    assert name in registry.NAMES
    assert name in reason
    assert registry.choose("onnxruntime")[0] == "onnxruntime"
    with pytest.raises(InputError, match="unknown backend"):
        registry.choose("auot")


def test_the_graph_that_a_precision_is_built_from() -> None:
    for name in ("openvino", "onnxruntime"):
        assert registry.backend(name).graph_kind("int8") == "int8"
        assert registry.backend(name).graph_kind("fp32") == "float"


def test_a_classifier_s_signature_is_its_shape_and_classes(tmp_path: Path) -> None:
    onnx.save(classifier(), str(tmp_path / "graph.onnx"))
    assert graph_signature(tmp_path / "graph.onnx") == (SHAPE, CLASSES)


def test_constants_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = classifier()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, str(tmp_path / "graph.onnx"))
    assert graph_signature(tmp_path / "graph.onnx") == (SHAPE, CLASSES)


NCHW = ["batch", *SHAPE]
NK = ["batch", CLASSES]
OTHERS: dict[str, tuple[onnx.ModelProto, str]] = {
    "two inputs": (graph([], {}, {"images": NCHW, "more": NCHW}), "must have one input"),
    "two outputs": (graph([], {}, outputs={"scores": NK, "more": NK}), "must have one input"),
    "3-d output": (graph([], {}, outputs={"scores": ["batch", 4, 5]}), "must have one input"),
    "2-d input": (graph([], {}, {"images": ["batch", 9]}), "must have one input"),
    "free height": (graph([], {}, {"images": ["batch", 3, "height", 8]}), "must fix channels, height, width"),
    "free classes": (graph([], {}, outputs={"scores": ["batch", "classes"]}), "must fix .* classes"),
    "fixed batch": (graph([], {}, {"images": [1, *SHAPE]}), "batches of 1 alone: export it with a free batch"),
    "bytes": (graph([], {}, kind=TensorProto.UINT8), "images as UINT8"),
}


@pytest.mark.parametrize("case", sorted(OTHERS))
def test_graphs_that_no_engine_could_take_are_refused(tmp_path: Path, case: str) -> None:
    model, why = OTHERS[case]
    onnx.save(model, str(tmp_path / "graph.onnx"))
    with pytest.raises(InputError, match=rf"graph\.onnx .*{why}"):
        graph_signature(tmp_path / "graph.onnx")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    whole = classifier().SerializeToString()
    for name, data in {"half.onnx": whole[: len(whole) // 2], "text.onnx": b"not a graph", "absent.onnx": None}.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=rf"{name} cannot be read as an ONNX graph"):
            build_engine("onnxruntime", "fp32", tmp_path / name, tmp_path, {})


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_operator_that_a_runtime_lacks_is_refused(tmp_path: Path, backend: str) -> None:
    model = graph([helper.make_node("NoSuchOperator", ["images"], ["scores"])], {})
    onnx.save(model, str(tmp_path / "graph.onnx"))
    (tmp_path / "engine").mkdir()
    with pytest.raises(InputError, match=r"graph\.onnx"):
        build_engine(backend, "fp32", tmp_path / "graph.onnx", tmp_path / "engine", {})


def test_the_bytes_of_constants_are_those_of_their_types(tmp_path: Path) -> None:
    from engines.constants import constant_bytes

    constants: dict[str, Any] = {
        "a": np.zeros((3, 4), np.float32),
        "b": np.zeros(5, np.int8),
        "c": np.zeros((), np.int64),
    }
    onnx.save(graph([], constants), str(tmp_path / "graph.onnx"))
    assert constant_bytes(tmp_path / "graph.onnx") == 48 + 5 + 8
