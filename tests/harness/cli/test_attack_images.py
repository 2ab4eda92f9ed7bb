"""Attack images: exported where torch is, replayed on an engine where it is not installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import reports
from contracts.files import read_json
from harness.data.registry import find

from .conftest import Finished, Invoke
from .given_graphs import write_given
from .processes import Document, Ended, run, without

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SCHEMA = Path(reports.__file__).parent / "schema" / "result-v1.schema.json"
TORCH = ["torch", "torchvision", "safetensors", "torch_pruning", "onnxscript"]
FILE = "attack-images.npz"
SAMPLES = ("--samples", "20")
QUICK = ("--set", "attack.square.queries=30", "--set", "attack.rays.queries=30")
ALL_ARMS = ("--arms", "transfer,loop,query,noise", *QUICK)


@pytest.fixture(scope="module")
def workstation(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run and the attack images that were exported beside it; nobody writes into it."""
    cwd = tmp_path_factory.mktemp("a workstation")
    shutil.copytree(finished.workspace, cwd / "run")
    ended = run("export", "--workspace", "run", "--attack-images", FILE, *SAMPLES, cwd=cwd)
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.err.splitlines() if FILE in line]
    assert f"of the first 20 test images, {(cwd / FILE).stat().st_size:,} bytes" in line
    return cwd


@pytest.fixture
def board(workstation: Path, tmp_path: Path) -> Path:
    """Return a folder with what is copied to a board: no checkpoint, no calibration, no other graph."""
    return copied(workstation, tmp_path / "a board")


@pytest.fixture(scope="module")
def no_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a process without torch."""
    return without(TORCH, tmp_path_factory.mktemp("blocked"))


def copied(workstation: Path, cwd: Path) -> Path:
    for name in ("engines", "graphs/float"):
        shutil.copytree(workstation / "run" / name, cwd / "run" / name)
    for name in ("run/experiment.toml", FILE):
        shutil.copyfile(workstation / name, cwd / name)
    return cwd


def evaluated(cwd: Path, env: dict[str, str], *options: str) -> Ended:
    return run("eval", "--workspace", "run", "--attack-images", FILE, *options, cwd=cwd, env=env)


def only(ended: Ended) -> Document:
    """Return the robustness of the one result document that was printed."""
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    (robustness,) = document["robustness"]
    found: Document = robustness
    return found


def test_the_file_says_what_it_is(workstation: Path) -> None:
    with np.load(workstation / FILE, allow_pickle=False) as archive:
        arrays = dict(archive)
    assert arrays["images"].dtype == np.float32
    assert arrays["rows"].max() < 20
    assert set(arrays["source"]) == {"float", "twin"}
    counts = np.unique(np.stack([arrays["rows"], arrays["source"] == "twin"]), axis=1, return_counts=True)[1]
    assert counts.max() <= 4
    final = read_json(workstation / "run/checkpoints/final/manifest.json", "manifest")
    assert arrays["model_sha256"].item() == final["sha256"]
    assert json.loads(arrays["settings"].item())["pgd"]["steps"] == 20
    assert (arrays["norm"].item(), set(arrays["epsilon"])) == ("linf", {0.1})


def test_a_board_without_torch_is_attacked_in_three_arms(board: Path, no_torch: dict[str, str]) -> None:
    ended = evaluated(board, no_torch, *SAMPLES, *ALL_ARMS, "--json")
    robustness = only(ended)
    assert list(robustness["arms"]) == ["transfer", "query", "noise"]
    assert robustness["skipped"] == {"loop": "torch is not installed here, which gradients need"}
    first = robustness["steps"][0]
    assert (first["arm"], first["attack"], first["source"]) == ("transfer", "recorded", "file")
    assert first["settings"]["sources"] == "float+twin"
    assert 0 < first["turned"] < first["attacked"] <= first["queries"]
    assert robustness["arms"]["transfer"]["value"] <= robustness["arms"]["noise"]["value"]
    assert {path.name for path in (board / "run").iterdir()} >= {"engines", "graphs", "results"}
    assert not (board / "run" / "checkpoints").exists()
    again = evaluated(board, no_torch, *SAMPLES, *ALL_ARMS)
    assert again.code == 0
    assert "everything in run is up to date" in again.err


def test_a_board_with_torch_needs_no_model_to_ask_its_engine(
    board: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(board)
    asked = ("eval", "--workspace", "run", *SAMPLES, *QUICK, "--json")
    robustness = only(invoke(*asked, "--arms", "query"))
    assert (robustness["attack"], list(robustness["arms"])) == ("square+rays", ["query"])
    assert robustness["attribution"] is None
    assert any("no model with gradients is at hand" in rule["told"] for rule in robustness["sanity"])
    ended = invoke(*asked, "--arms", "loop")
    assert ended.code == 2
    assert "was not made from the model in this run folder" in ended.err
    assert not (board / "run" / "checkpoints").exists()


def test_another_file_is_another_evaluation(board: Path, no_torch: dict[str, str]) -> None:
    strong = only(evaluated(board, no_torch, *SAMPLES, "--arms", "transfer", "--json"))
    with np.load(board / FILE) as archive:
        arrays = dict(archive)
    arrays["images"] = find("digits").read().test.images[arrays["rows"]]  # clean ones are in every ball
    np.savez(board / FILE, **arrays)
    weak = only(evaluated(board, no_torch, *SAMPLES, "--arms", "transfer", "--json"))
    assert weak["steps"][0]["turned"] == 0 < strong["steps"][0]["turned"]


def test_a_workstation_shows_them_beside_what_it_attacks_itself(
    workstation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(shutil.copytree(workstation, tmp_path / "here"))
    robustness = only(
        invoke("eval", "--workspace", "run", "--attack-images", FILE, *SAMPLES, "--arms", "transfer", "--json")
    )
    found = [(step["attack"], step["source"]) for step in robustness["steps"]]
    assert found == [("recorded", "file"), ("pgd", "float"), ("pgd", "twin")]
    recorded, *others = robustness["steps"]
    assert sum(step["turned"] for step in others) <= 1, "what an attack shows an engine is what was recorded of it"
    assert recorded["turned"] > 0


def altered(**changed: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return what changes arrays of a file."""

    def alter(file: Path) -> None:
        with np.load(file) as archive:
            arrays = dict(archive)
        for name, change in changed.items():
            arrays[name] = change(arrays[name])
        np.savez(file, **arrays)

    return alter


REFUSED: dict[str, tuple[Callable[[Path], Any], tuple[str, ...], str]] = {
    "missing": (Path.unlink, (), "is no file"),
    "torn": (lambda file: file.write_bytes(file.read_bytes()[:5000]), (), "cannot be read as .npz"),
    "newer": (altered(format_version=lambda version: version + 1), (), "is of version 2 of its format"),
    "norm": (lambda file: None, ("--norm", "l2"), "holds images of linf balls and l2 is evaluated"),
    "epsilon": (lambda file: None, ("--epsilon", "0.05,0.1"), "holds no image of epsilon 0.05 or less"),
    "samples": (lambda file: None, ("--samples", "21"), "covers the first 20 images of the test split"),
    "model": (altered(model_sha256=lambda _: np.array("other")), (), "another model than engines/openvino-int8"),
    "data": (altered(data_sha256=lambda _: np.array("other")), (), "another data set than lies here"),
    "ball": (altered(images=lambda images: images.clip(0.5, 1.0)), (), "beyond its epsilon 0.1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(
    name: str, board: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke, workstation: Path
) -> None:
    spoil, options, sentence = REFUSED[name]
    shutil.copytree(workstation / "run" / "checkpoints", board / "run" / "checkpoints")
    monkeypatch.chdir(board)
    spoil(Path(FILE))
    ended = invoke("eval", "--workspace", "run", "--attack-images", FILE, *SAMPLES, *options)
    assert ended.code == 2, ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith(f"error: {FILE}")
    assert sentence in last
    assert not Path("run/fragments").exists(), "before anything is evaluated"


def test_a_board_needs_the_float_graph_of_the_same_model(board: Path, no_torch: dict[str, str]) -> None:
    manifest = board / "run/graphs/float/manifest.json"
    record = read_json(manifest, "manifest")
    record["parents"][0]["sha256"] = "other"
    del record["seal"]
    manifest.write_text(json.dumps(record))
    ended = evaluated(board, no_torch, *SAMPLES)
    assert (ended.code, "was not made from the model in this run folder" in ended.err) == (2, True)
    shutil.rmtree(board / "run/graphs")
    ended = evaluated(board, no_torch, *SAMPLES)
    assert (ended.code, "without graphs/float" in ended.err) == (2, True)


def test_export_without_torch_says_what_to_install(board: Path, no_torch: dict[str, str]) -> None:
    ended = run("export", "--workspace", "run", "--attack-images", "new.npz", cwd=board, env=no_torch)
    assert ended.code == 4
    assert "pip install 'edge-robustness-harness[train]'" in ended.err.splitlines()[-1]
    assert not (board / "new.npz").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--epsilon", "0.1"), "say what --attack-images records"),
        (("--attack-images", "new.npz", "--attack", "square,noise"), "square, noise follows no gradient"),
        (("--attack-images", "."), ". is a folder"),
        (("--attack-images", "new.npz", "--attack", "pdg"), "did you mean 'pgd'?"),
        (("--attack-images", "new.npz", "--onnx", "model.onnx"), "which has no gradients"),
    ],
)
def test_export_refuses_what_cannot_be_recorded(
    options: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    write_given(tmp_path)
    monkeypatch.chdir(tmp_path)
    ended = invoke("export", *options)
    assert ended.code == 2
    assert sentence in ended.err.splitlines()[-1]
    assert not Path("new.npz").exists()
