"""A user's own ONNX file, from the graph to measured engines, where torch is not installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest

import reports
from calibration.graphs.tensorrt_cache import read_cache_text
from contracts.files import read_json

from .conftest import Invoke
from .given_graphs import CLASSES, classifier, pictures, write_given
from .processes import Document, Ended, digests, run, tree, without

pytestmark = [pytest.mark.slow, pytest.mark.core]

SCHEMA = Path(reports.__file__).parent / "schema" / "result-v1.schema.json"
TORCH = ["torch", "torchvision", "sklearn", "safetensors", "torch_pruning", "onnxscript"]
WORKSPACE = Path("runs/model")


@dataclass(frozen=True)
class Given:
    """A folder in which every command of a given graph was run once, as processes without torch."""

    cwd: Path
    built: Ended
    measured: Ended
    evaluated: Ended


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    cwd = tmp_path_factory.mktemp("my own model")
    write_given(cwd)
    env = without(TORCH, tmp_path_factory.mktemp("blocked"))
    build = ("build", "--onnx", "model.onnx", "--precision", "int8", "--calibration", "images.npz")
    ended = [
        run(*arguments, cwd=cwd, env=env)
        for arguments in (
            build,
            ("measure", "--onnx", "model.onnx", "--precision", "int8", "--batch", "1", "--json"),
            ("eval", "--onnx", "model.onnx", "--precision", "int8", "--set", "data.path=test.npz", "--json"),
        )
    ]
    assert [each.code for each in ended] == [0, 0, 0], [each.err for each in ended]
    return Given(cwd, *ended)


@pytest.fixture
def copied(given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in a copy of that folder."""
    folder = Path(shutil.copytree(given.cwd, tmp_path / "here"))
    monkeypatch.chdir(folder)
    yield folder


def only(ended: Ended) -> Document:
    """Return the one result document that was printed."""
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    found: Document = document
    return found


def test_a_graph_and_images_become_an_int8_engine(given: Given) -> None:
    workspace = given.cwd / WORKSPACE
    for made in ("graphs/float", "calibration/post-training", "graphs/int8", "engines/openvino-int8"):
        assert f"{made} made in" in given.built.err
    assert {path.name for path in (workspace / "engines").iterdir()} == {"openvino-int8"}
    engine = read_json(workspace / "engines/openvino-int8/manifest.json", "manifest")["info"]["engine"]
    assert (engine["backend"], engine["precision"]) == ("openvino", "int8")
    assert (engine["input_shape"], engine["classes"]) == ([1, 8, 8], CLASSES)
    assert engine["audit"]["int8_mac_share"] == 1.0
    assert {layer["name"]: layer["precision"] for layer in engine["audit"]["layers"]} == {
        "conv": "int8",
        "head": "int8",
    }
    assert [name for name in tree(workspace) if "/." in name] == []


def test_the_table_names_the_file_and_the_images(given: Given) -> None:
    table = read_json(given.cwd / WORKSPACE / "calibration/post-training/calibration.json", "table")
    assert (table["images"], table["method"], table["bits"]) == ("images.npz", "percentile", 8)
    assert table["sample_ids"] == list(range(40)), "fewer than the default, so all of them"
    activations = {name for name, entry in table["tensors"].items() if entry["axis"] is None}
    assert activations == {"images", "flat"}
    assert table["tensors"]["images"]["scales"][0] == pytest.approx(1 / 127, rel=0.05)


def test_the_scales_lie_beside_the_graph_for_tensorrt(given: Given) -> None:
    folder = given.cwd / WORKSPACE
    table = read_json(folder / "calibration/post-training/calibration.json", "table")
    written = read_cache_text((folder / "graphs/int8/tensorrt_calibration.cache").read_text())
    wanted = {name: entry["scales"][0] for name, entry in table["tensors"].items() if entry["axis"] is None}
    assert written == pytest.approx(wanted)


def test_the_engine_is_measured(given: Given) -> None:
    document = only(given.measured)
    subject = document["subject"]
    assert (subject["experiment"], subject["model"], subject["precision"]) == ("model", "model.onnx", "int8")
    assert subject["parameters"] > 5_000
    assert subject["macs"] > 5_000
    assert document["latency"][0]["p50_ms"] > 0
    assert document["accuracy"]["reason"] == document["robustness_reason"] == "'harness eval' has not been run"
    assert [link["kind"] for link in document["lineage"]] == ["onnx", "calibration", "onnx", "engine"]


def test_labels_give_accuracy_and_the_missing_gradients_a_reason(given: Given) -> None:
    document = only(given.evaluated)
    accuracy = document["accuracy"]
    assert accuracy["clean"]["n"] == 100, "the file's own test split"
    assert accuracy["clean"]["value"] >= 0.95
    assert accuracy["reference"]["value"] >= 0.95
    assert accuracy["flips"]["against"] == "float"
    assert document["robustness"] == []
    assert "gradients" in document["robustness_reason"]
    assert "'harness eval --arms query,noise' asks the engine alone" in document["robustness_reason"]
    assert accuracy["repeatability"]["images"] == 100
    assert (accuracy["repeatability"]["votes"], accuracy["repeatability"]["fault"]) == (1, None)
    assert document["latency"][0]["p50_ms"] > 0, "what was measured before joins"


def test_noise_asks_the_engine_alone(copied: Path, invoke: Invoke) -> None:
    arguments = ("--workspace", str(WORKSPACE), "--attack", "noise,pgd", "--epsilon", "0.02,0.25", "--json")
    document = only(invoke("eval", *arguments, "--precision", "int8"))
    assert [(entry["attack"], entry["epsilon"]) for entry in document["robustness"]] == [
        ("noise", 0.02),
        ("noise", 0.25),
    ], "pgd did not run"
    assert document["robustness_reason"] is None
    weak, strong = document["robustness"]
    clean = document["accuracy"]["clean"]["value"]
    assert weak["worst_case"]["value"] >= clean - 0.05
    assert strong["worst_case"]["value"] < clean - 0.1
    for entry in (weak, strong):
        assert set(entry["arms"]) == {"noise"}
        (step,) = entry["steps"]
        assert (step["arm"], step["attack"], step["source"], step["settings"]) == (
            "noise",
            "noise",
            None,
            {"draws": 10},
        )
        assert step["turned"] == round(100 * (clean - entry["worst_case"]["value"]))
        assert 2 * step["attacked"] <= step["queries"] == entry["arms"]["noise"]["queries"] <= 11 * step["attacked"]
        assert entry["skipped"] == dict.fromkeys(("transfer", "loop"), "a given ONNX graph has no gradients")
        assert (entry["gradients"], entry["attribution"], entry["minimal_norm"]) == (None, None, None)
        assert entry["warnings"] == [], "noise that turns nothing is no sign of masked gradients"
        unjudged = [rule["told"] for rule in entry["sanity"] if rule["held"] is None]
        assert any("no model with gradients is at hand" in told for told in unjudged)


def test_queries_and_noise_need_no_gradients_and_no_torch(copied: Path, tmp_path: Path) -> None:
    asked = ("--arms", "transfer,query,noise", "--norm", "l2", "--epsilon", "0.2,1.5")
    few = ("--set", "attack.square.queries=60", "--set", "attack.rays.queries=80")
    env = without(TORCH, tmp_path / "blocked")
    arguments = ("eval", "--workspace", str(WORKSPACE), "--precision", "int8", *asked, *few, "--json")
    document = only(run(*arguments, cwd=copied, env=env))
    weak, strong = document["robustness"]
    assert [(entry["norm"], entry["epsilon"]) for entry in document["robustness"]] == [("l2", 0.2), ("l2", 1.5)]
    for entry in (weak, strong):
        assert [(step["arm"], step["attack"]) for step in entry["steps"]] == [
            ("query", "square"),
            ("query", "rays"),
            ("noise", "noise"),
        ]
        assert entry["skipped"] == {"transfer": "a given ONNX graph has no gradients"}
        by_scores, by_decisions, noise = entry["steps"]
        assert by_decisions["attacked"] == by_scores["attacked"] - by_scores["turned"]
        assert noise["attacked"] == by_scores["attacked"], "another arm starts afresh"
    assert strong["worst_case"]["value"] < weak["worst_case"]["value"]
    assert strong["arms"]["query"]["value"] < strong["arms"]["noise"]["value"]
    assert [rule["held"] for rule in strong["sanity"] if rule["rule"] == "random noise finds least"] == [True]


def test_a_second_build_makes_nothing(copied: Path, invoke: Invoke) -> None:
    held = digests(WORKSPACE)
    ended = invoke("build", "--onnx", "model.onnx", "--precision", "int8")
    assert ended.code == 0, ended.err
    assert ended.err.splitlines()[-1] == "everything in runs/model is up to date"
    assert digests(WORKSPACE) == held


def test_other_images_in_the_file_calibrate_again(copied: Path, invoke: Invoke) -> None:
    held = digests(WORKSPACE)
    np.savez(copied / "images.npz", images=pictures(20, seed=9)[0] * 0.5)
    ended = invoke("build", "--onnx", "model.onnx", "--precision", "int8")
    assert ended.code == 0, ended.err
    assert "calibration/post-training again: " in ended.err
    now = digests(WORKSPACE)
    changed = {path for path, digest in now.items() if held[path] != digest}
    assert changed == {"calibration/post-training", "graphs/int8", "engines/openvino-int8"}
    table = read_json(WORKSPACE / "calibration/post-training/calibration.json", "table")
    assert len(table["sample_ids"]) == 20
    assert table["tensors"]["images"]["scales"][0] == pytest.approx(0.5 / 127, rel=0.1)


def test_another_calibrator_is_recorded_and_changes_no_graph_but_the_int8_one(copied: Path, invoke: Invoke) -> None:
    held = digests(WORKSPACE)
    ended = invoke("build", "--onnx", "model.onnx", "--precision", "int8", "--calibrator", "minmax")
    assert ended.code == 0, ended.err
    assert 'calibrator was "percentile" and is "minmax"' in ended.err
    assert read_json(WORKSPACE / "calibration/post-training/calibration.json", "table")["method"] == "minmax"
    assert 'calibrator = "minmax"' in (WORKSPACE / "experiment.toml").read_text()
    assert digests(WORKSPACE)["graphs/float"] == held["graphs/float"]


def test_a_layer_that_is_named_stays_in_float(copied: Path, invoke: Invoke) -> None:
    ended = invoke("quantize", "--onnx", "model.onnx", "--keep-float", "head")
    assert ended.code == 0, ended.err
    ended = invoke("build", "--onnx", "model.onnx", "--precision", "int8")
    assert ended.code == 0, ended.err
    graph = onnx.load(str(WORKSPACE / "graphs/int8/graph.onnx")).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    reads = {node.name: dequantized.intersection(node.input) for node in graph.node if node.name in {"conv", "head"}}
    assert len(reads["conv"]) == 2
    assert reads["head"] == set()
    audit = read_json(WORKSPACE / "engines/openvino-int8/manifest.json", "manifest")["info"]["engine"]["audit"]
    (head,) = [layer for layer in audit["layers"] if layer["name"] == "head"]
    assert (head["quantized"], head["precision"]) == (False, "fp32")
    assert audit["int8_mac_share"] == pytest.approx(4608 / (4608 + 5120))


def test_export_writes_every_kind_of_graph(copied: Path, invoke: Invoke) -> None:
    ended = invoke("export", "--onnx", "model.onnx")
    assert ended.code == 0, ended.err
    folders = {path.name: {file.name for file in path.iterdir()} for path in (WORKSPACE / "graphs").iterdir()}
    plain = {"graph.onnx", "manifest.json"}
    assert folders == {
        "float": plain,
        "int8": {*plain, "tensorrt_calibration.cache"},
        "fp16": plain,
        "bf16": plain,
    }
    for kind in folders:
        (shown,) = onnx.load(str(WORKSPACE / "graphs" / kind / "graph.onnx")).graph.input
        assert (shown.name, shown.type.tensor_type.elem_type) == ("images", onnx.TensorProto.FLOAT)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder that holds the files alone."""
    write_given(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_float_engine_needs_no_calibration(alone: Path, invoke: Invoke) -> None:
    ended = invoke("build", "--onnx", "model.onnx", "--precision", "fp32")
    assert ended.code == 0, ended.err
    made = {path.name for path in WORKSPACE.iterdir()}
    assert made == {".lock", "engines", "experiment.toml", "graphs", "log.txt"}
    assert {path.name for path in (WORKSPACE / "graphs").iterdir()} == {"float"}


def test_the_images_fix_what_the_graph_leaves_free(alone: Path, invoke: Invoke) -> None:
    onnx.save(classifier(("height", "width")), str(alone / "free.onnx"))
    refused = invoke("build", "--onnx", "free.onnx", "--precision", "fp32")
    assert refused.code == 2
    assert "free.onnx leaves channels, height or width free (1, ?, ?)" in refused.err
    ended = invoke("build", "--onnx", "free.onnx", "--precision", "int8", "--calibration", "images.npz")
    assert ended.code == 0, ended.err
    manifest = read_json(Path("runs/free/engines/openvino-int8/manifest.json"), "manifest")
    assert manifest["info"]["engine"]["input_shape"] == [1, 8, 8]


def test_the_training_split_of_a_data_set_calibrates_too(alone: Path, invoke: Invoke) -> None:
    ended = invoke("quantize", "--onnx", "model.onnx", "--set", "data.path=test.npz", "--calibration-samples", "20")
    assert ended.code == 0, ended.err
    table = read_json(WORKSPACE / "calibration/post-training/calibration.json", "table")
    assert table["images"] == "clean"
    assert len(table["sample_ids"]) == 20
    assert max(table["sample_ids"]) < 50
