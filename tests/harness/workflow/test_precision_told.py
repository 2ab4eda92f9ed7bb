"""An engine that was asked to be INT8 and is not says so from the build to the result document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.progress import Silent
from harness.workflow.artifact import Artifact, Task, read_artifact, write_artifact
from harness.workflow.context import Context
from harness.workflow.fragments import Fragments
from harness.workflow.saved_models import GRAPH
from harness.workflow.settings import check
from harness.workflow.stages import assemble, build, clean
from reports.document import read_document

pytestmark = pytest.mark.core

SENTENCE = (
    "onnxruntime int8: 1 of 1 layers, 100.0 % of the multiply-accumulates, runs in FP32 because the graph does not "
    "quantize it: alone"
)


def save_float_graph(folder: Path) -> dict[str, Any]:
    """Save one convolution without Q/DQ, which an engine of any precision runs in float."""
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["maps"], name="alone"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["scores"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 4, 4])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])
    weight = numpy_helper.from_array(np.ones((3, 1, 2, 2), np.float32), "weight")
    graph = helper.make_graph(nodes, "alone", [images], [scores], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(folder / GRAPH))
    return {}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context("any", check({"data": {"name": "digits"}}, "values"), tmp_path, None, Silent(), "harness run")


@pytest.fixture
def engine(context: Context) -> Artifact:
    exported = Task("export", "graphs/int8", "onnx", {}, lambda folder, _: save_float_graph(folder))
    graph = write_artifact(exported, context.folder / exported.path, (), {})
    task = build.task(context, exported, exported, "onnxruntime", "int8")
    return write_artifact(task, context.folder / task.path, (graph,), {"created": "2026-03-14T09:26:53+00:00"})


def decisions(folder: Path) -> Artifact:
    """Return a fragment as the evaluation of clean images leaves it."""
    folder.mkdir()
    np.savez_compressed(folder / clean.OUTCOMES, labels=np.zeros(4))
    rate = {"value": 1.0, "n": 4, "ci95": [0.5, 1.0]}
    environment: dict[str, object] = {"python": "3", "platform": "any", "packages": {}, "cpu": "any"}
    environment.update(dict.fromkeys(("gpu", "driver", "jetpack")))
    info: dict[str, object] = {"clean": rate, "reference": rate, "flips": None, "environment": environment}
    info |= {"repeatability": None, "warnings": []}
    return Artifact(folder, {"created": "2026-03-14T10:00:00+00:00", "settings": {}, "info": info})


def test_the_build_says_it_and_keeps_it(engine: Artifact) -> None:
    assert engine.info("warnings") == [SENTENCE]
    kept = read_artifact(engine.folder)
    assert kept is not None
    assert kept.info("engine")["audit"]["int8_mac_share"] == 0.0


def test_the_result_document_says_it(context: Context, engine: Artifact) -> None:
    fragments = Fragments(engine, (engine,), None, decisions(context.folder / "clean"), (), None)
    document = read_document(assemble.assemble(context, fragments, "cpu") / assemble.RESULT)
    assert document.warnings == (SENTENCE,)
    assert document.precision is not None
    assert [(layer.name, layer.precision, layer.macs) for layer in document.precision.layers] == [
        ("alone", "fp32", 108)
    ]


def test_an_engine_of_before_the_audits_still_gives_a_document(context: Context, engine: Artifact) -> None:
    info = {"engine": {key: value for key, value in engine.info("engine").items() if key != "audit"}}
    old = Artifact(engine.folder, {**engine.manifest, "info": info})
    fragments = Fragments(old, (old,), None, decisions(context.folder / "clean"), (), None)
    document = read_document(assemble.assemble(context, fragments, "cpu") / assemble.RESULT)
    assert (document.precision, document.warnings) == (None, ())
