"""`harness quantize` on a torch model one layer of which INT8 ruins: its input has a channel a thousand times wider."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx

from calibration.graphs.tensorrt_cache import read_cache_text
from contracts.files import read_json
from harness.measurement.window import PROFILES

from .conftest import Invoke
from .given_graphs import pictures
from .processes import Ended, digests

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

WORKSPACE = Path("runs/outlier")
TABLE = "calibration/post-training/calibration.json"
LAYERS = ("stem", "wide", "head")

FACTORY = '''
import torch
from torch import nn

from tests.harness.cli.given_graphs import PATTERNS


class Outlier(nn.Module):
    """Keeps the picture in one channel, and a thousandfold in another that the head does not read."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 1, 1, bias=False)
        self.wide = nn.Conv2d(1, 2, 1, bias=False)
        self.head = nn.Linear(128, 10, bias=False)

    def forward(self, images):
        return self.head(torch.relu(self.wide(self.stem(images))).flatten(1))


def make():
    return Outlier()


def weights():
    patterns = torch.from_numpy(PATTERNS - PATTERNS.mean((1, 2), keepdims=True)).flatten(1)
    return {
        "stem.weight": torch.ones(1, 1, 1, 1),
        "wide.weight": torch.tensor([1.0, 1000.0]).reshape(2, 1, 1, 1),
        "head.weight": torch.cat([patterns, torch.zeros(10, 64)], 1),
    }
'''

EXPERIMENT = """
[data]
name = "npz"
path = "mine.npz"
calibration_samples = 50

[model]
factory = "outlier_for_tests:make"
checkpoint = "outlier.safetensors"

[quantize]
sensitivity_samples = 100

[finetune]
method = "none"

[build]
backend = "openvino"

[eval]
epsilon = 0.02

[measure]
batch = 1
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PROFILES, "quick", 0.3)
    Path("outlier_for_tests.py").write_text(FACTORY)
    Path("outlier.toml").write_text(EXPERIMENT)
    import outlier_for_tests  # type: ignore[import-not-found]

    save_file(outlier_for_tests.weights(), "outlier.safetensors")
    train, test = pictures(300, seed=2), pictures(20, seed=3)
    np.savez("mine.npz", images=train[0], labels=train[1], test_images=test[0], test_labels=test[1])


def quantize(invoke: Invoke, *arguments: str) -> Ended:
    ended = invoke("quantize", "outlier.toml", *arguments)
    assert ended.code == 0, ended.err
    return ended


def quantized_inputs(layers: tuple[str, ...]) -> dict[str, int]:
    """Return how many inputs of each layer come out of a DequantizeLinear in the INT8 graph."""
    graph = onnx.load(str(WORKSPACE / "graphs/int8/graph.onnx")).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    multiplying = [node for node in graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
    assert len(multiplying) == len(layers)
    return {layer: len(dequantized.intersection(node.input)) for layer, node in zip(layers, multiplying, strict=True)}


def audited() -> list[tuple[bool, str]]:
    """Return of every layer of the engine whether it is quantized, and the precision it runs in."""
    manifest = read_json(WORKSPACE / "engines/openvino-int8/manifest.json", "manifest")
    return [(layer["quantized"], layer["precision"]) for layer in manifest["info"]["engine"]["audit"]["layers"]]


def test_the_layer_that_costs_most_is_ranked_first(invoke: Invoke) -> None:
    ended = quantize(invoke, "--sensitivity")
    assert (
        "(100 training images that did not calibrate, the model before fine-tuning; float: clean 100.00 %" in ended.out
    )
    rows = re.findall(r"(\w+) +│ +([+-]\d+\.\d\d) +│ +([+-]\d+\.\d\d) +│", ended.out)
    assert {name for name, _, _ in rows} == set(LAYERS)
    worse = [max(float(clean), float(robust)) for _, clean, robust in rows]
    assert worse == sorted(worse, reverse=True)
    assert rows[0][0] == "head"
    assert worse[0] > 50
    assert worse[1] < 5
    written = json.loads((WORKSPACE / "calibration/sensitivity/sensitivity.json").read_text())
    assert [cost["layer"] for cost in written] == [name for name, _, _ in rows]
    manifest = read_json(WORKSPACE / "calibration/sensitivity/manifest.json", "manifest")
    assert manifest["info"]["float"]["clean"] == 1.0

    again = quantize(invoke, "--sensitivity")
    assert again.out == ended.out
    assert again.err.splitlines() == [f"everything in {WORKSPACE} is up to date"]


def test_auto_keeps_as_few_layers_as_the_drop_allows(invoke: Invoke) -> None:
    ended = quantize(invoke, "--keep-float", "auto", "--max-drop", "2")
    costs, kept, latency, *doubts = ended.out.splitlines()
    assert all(doubt.startswith("these times are not valid: ") for doubt in doubts)
    found = re.match(r"all 3 layers quantized cost \+(\d+\.\d\d) points clean and \+(\d+\.\d\d) robust", costs)
    assert found is not None
    assert float(found[1]) > 50
    assert kept.startswith("1 of 3 stay in float (head): ")
    times = re.fullmatch(
        r"openvino, batch 1: p50 (\d+\.\d{3}) ms all INT8, (\d+\.\d{3}) ms mixed \([+-]\d+\.\d %\)", latency
    )
    assert times is not None, latency
    steps = json.loads((WORKSPACE / "calibration/mixed-precision/steps.json").read_text())
    assert [max(step["clean"], step["robust"]) <= 2 for step in steps] == [False, True]
    table = read_json(WORKSPACE / "calibration/mixed-precision/calibration.json", "table")
    assert table["keep_float"] == ["head"]
    assert len(table["sample_ids"]) == 50

    built = invoke("build", "--workspace", str(WORKSPACE), "--precision", "int8")
    assert built.code == 0, built.err
    assert quantized_inputs(LAYERS) == {"stem": 2, "wide": 2, "head": 0}
    assert audited() == [(True, "int8"), (True, "int8"), (False, "fp32")]

    held = digests(WORKSPACE)
    again = quantize(invoke, "--keep-float", "auto", "--max-drop", "2")
    assert again.out == ended.out
    assert digests(WORKSPACE) == held

    # What is allowed to drop decides alone: the ranking stands, and with nothing in float nothing is timed.
    loose = quantize(invoke, "--keep-float", "auto", "--max-drop", "100")
    assert loose.out.splitlines()[1:] == ["no layer needs to stay in float"]
    assert "max_drop was 2.0 and is 100.0" in loose.err
    assert digests(WORKSPACE)["calibration/sensitivity"] == held["calibration/sensitivity"]
    assert read_json(WORKSPACE / "calibration/mixed-precision/calibration.json", "table")["keep_float"] == []


def test_layers_that_are_named_stay_in_float(invoke: Invoke) -> None:
    ended = quantize(invoke, "--keep-float", "head, wide")
    assert ended.out == ""
    assert read_json(WORKSPACE / TABLE, "table")["keep_float"] == ["head", "wide"]
    built = invoke("build", "--workspace", str(WORKSPACE), "--precision", "int8")
    assert built.code == 0, built.err
    assert quantized_inputs(LAYERS) == {"stem": 2, "wide": 0, "head": 0}
    assert audited() == [(True, "int8"), (False, "fp32"), (False, "fp32")]
    document = json.loads(
        invoke("eval", "--workspace", str(WORKSPACE), "--precision", "int8", "--samples", "20", "--json").out
    )[0]
    assert document["accuracy"]["clean"]["value"] == 1.0, "the layer that INT8 ruins is in float"
    quantize(invoke, "--keep-float", "")
    assert read_json(WORKSPACE / TABLE, "table")["keep_float"] == []


def test_a_layer_that_is_not_there_is_refused_with_the_nearest(invoke: Invoke) -> None:
    ended = invoke("quantize", "outlier.toml", "--keep-float", "haed")
    assert ended.code == 2
    line = ended.err.splitlines()[-1]
    assert line.startswith("error: unknown layer in quantize.keep_float 'haed'; did you mean 'head'?")
    assert not (WORKSPACE / TABLE).exists()


def test_the_options_are_recorded_as_settings(invoke: Invoke) -> None:
    quantize(invoke, "--calibrator", "entropy", "--calibration-samples", "20", "--calibration-data", "mixed")
    table = read_json(WORKSPACE / TABLE, "table")
    assert (table["method"], table["images"], len(table["sample_ids"])) == ("entropy", "mixed", 20)
    assert {entry["method"] for entry in table["tensors"].values()} == {"entropy", "channel maximum"}
    again = invoke("quantize", "--workspace", str(WORKSPACE))
    assert again.err.splitlines() == [f"everything in {WORKSPACE} is up to date"]


def test_export_writes_every_kind_of_graph(invoke: Invoke) -> None:
    ended = invoke("export", "outlier.toml")
    assert ended.code == 0, ended.err
    folders = {path.name: {file.name for file in path.iterdir()} for path in (WORKSPACE / "graphs").iterdir()}
    plain = {"graph.onnx", "manifest.json"}
    assert folders == {"float": plain, "int8": {*plain, "tensorrt_calibration.cache"}, "fp16": plain, "bf16": plain}
    table = read_json(WORKSPACE / TABLE, "table")
    scales = sorted(entry["scales"][0] for entry in table["tensors"].values() if entry["axis"] is None)
    written = read_cache_text((WORKSPACE / "graphs/int8/tensorrt_calibration.cache").read_text())
    assert sorted(written.values()) == pytest.approx(scales)


def test_adversarial_calibration_stands_in_no_graphs_way(invoke: Invoke) -> None:
    ended = invoke("export", "outlier.toml", "--set", "quantize.calibration_data=adversarial")
    assert ended.code == 0, ended.err
    assert read_json(WORKSPACE / TABLE, "table")["images"] == "adversarial"
    assert (WORKSPACE / "graphs/fp16/graph.onnx").exists()
