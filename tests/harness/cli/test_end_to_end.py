"""The whole journey on digits, with tiny settings, and what commands do with a finished run folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import reports
from contracts.files import sha256_file, sha256_json
from reports.store import read_results

from .conftest import Finished, Invoke
from .processes import TINY, digests, run, tree, without

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SCHEMA = Path(reports.__file__).parent / "schema" / "result-v1.schema.json"


def results(workspace: Path) -> dict[str, str]:
    """Return every result's document, as text, by its path."""
    return {str(path.relative_to(workspace)): path.read_text() for path in workspace.glob("results/*/*/result.json")}


def log_since(workspace: Path, before: str) -> list[str]:
    """Return what was logged since."""
    whole = (workspace / "log.txt").read_text()
    assert whole.startswith(before)
    return [line.split(" ", 1)[1] for line in whole.removeprefix(before).splitlines()]


def test_a_run_folder_holds_what_the_design_says(finished: Finished) -> None:
    assert finished.ended.err.splitlines()[-1] == "report: runs/digits/report.html"
    assert {path.name for path in finished.workspace.iterdir()} == {
        ".lock",
        "calibration",
        "checkpoints",
        "engines",
        "experiment.toml",
        "fragments",
        "graphs",
        "log.txt",
        "report.html",
        "results",
    }
    assert tree(finished.workspace / "engines") == [
        "openvino-int8",
        "openvino-int8/engine.bin",
        "openvino-int8/engine.xml",
        "openvino-int8/manifest.json",
    ]
    (result,) = read_results(finished.workspace)
    assert {path.name for path in result.folder.iterdir()} == {
        "device.npz",
        "images.npz",
        "latencies.npz",
        "outcomes.npz",
        "result.json",
    }
    assert [name for name in tree(finished.workspace) if "/." in name] == []


def test_the_document_keeps_to_the_published_schema(finished: Finished) -> None:
    (text,) = results(finished.workspace).values()
    document = json.loads(text)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    (printed,) = finished.documents
    assert printed == document
    assert document["command"].startswith("harness run --json --set train.epochs=4")
    assert document["subject"]["precision"] == "int8"
    assert document["subject"]["parameters"] > 10_000
    assert document["subject"]["macs"] > 100_000


def test_the_numbers_follow_from_the_outcomes(finished: Finished) -> None:
    (result,) = read_results(finished.workspace)
    document, outcomes = finished.documents[0], result.outcomes()
    labels, before, after = (outcomes[name] for name in ("labels", "float_decisions", "clean_decisions"))
    right = after == labels
    accuracy = document["accuracy"]
    assert right.mean() > 0.5, "the tiny model must be worth an attack"
    assert accuracy["clean"]["value"] == pytest.approx(right.mean())
    assert accuracy["clean"]["n"] == len(labels) == 60
    assert accuracy["reference"]["value"] == pytest.approx((before == labels).mean())
    assert accuracy["flips"]["changed"] == (before != after).sum()
    assert accuracy["flips"]["to_wrong"] == ((before == labels) & ~right).sum()
    assert accuracy["flips"]["to_right"] == ((before != labels) & right).sum()

    (robustness,) = document["robustness"]
    robust = right.copy()
    for arm in ("transfer", "loop"):
        decisions = outcomes[f"pgd_linf_0.1_{arm}_decisions"]
        assert (decisions[~right] == after[~right]).all(), "what is wrong when clean is not attacked"
        assert robustness["arms"][arm]["value"] == pytest.approx((right & (decisions == labels)).mean())
        robust &= decisions == labels
    assert robustness["worst_case"]["value"] == pytest.approx(robust.mean())
    assert robustness["worst_case"]["value"] < accuracy["clean"]["value"]
    assert ((outcomes["pgd_linf_0.1_winner"] == -1) == (robust | ~right)).all()
    low, high = robustness["worst_case"]["ci95"]
    assert low <= robustness["worst_case"]["value"] <= high


def test_the_times_are_those_of_the_document(finished: Finished) -> None:
    (result,) = read_results(finished.workspace)
    (latency,) = finished.documents[0]["latency"]
    (times,) = result.latencies().values()
    assert latency["n"] == len(times)
    assert latency["mean_ms"] == pytest.approx(times.mean())
    assert latency["p50_ms"] in times
    assert latency["valid"] == (not [reason for reason in latency["reasons"] if "percentile" not in reason])


def test_the_stored_images_are_inside_the_ball_and_fool_the_engine(finished: Finished) -> None:
    (result,) = read_results(finished.workspace)
    images = result.images()
    assert images is not None
    assert 1 <= len(images.labels) <= 8
    assert np.abs(images.adversarial - images.clean).max() <= 0.1 + 1e-6
    assert (images.clean_decisions == images.labels).all()
    assert (images.adversarial_decisions != images.labels).all()
    assert images.class_names == tuple("0123456789")


def test_the_lineage_is_that_of_the_files(finished: Finished) -> None:
    lineage = finished.documents[0]["lineage"]
    assert [link["kind"] for link in lineage] == ["checkpoint", "calibration", "checkpoint", "onnx", "engine"]
    folders = [
        "checkpoints/base",
        "calibration/post-training",
        "checkpoints/final",
        "graphs/int8",
        "engines/openvino-int8",
    ]
    for link, name in zip(lineage, folders, strict=True):
        folder = finished.workspace / name
        files = {file.name: sha256_file(file) for file in folder.iterdir() if file.name != "manifest.json"}
        assert link["sha256"] == sha256_json(files)
        assert link["bytes"] == sum((folder / file).stat().st_size for file in files)
    base, table, final, graph, engine = lineage
    assert base["sha256"] in table["parents"]
    assert {base["sha256"], table["sha256"]} <= set(final["parents"])
    assert graph["parents"] == [final["sha256"]]
    assert engine["parents"] == [graph["sha256"]]


def test_the_log_has_a_line_for_everything(finished: Finished) -> None:
    lines = log_since(finished.workspace, "")
    made = [line.split(" made in ")[0].split()[-1] for line in lines if " made in " in line]
    assert made[:5] == [
        "checkpoints/base",
        "calibration/post-training",
        "checkpoints/final",
        "graphs/int8",
        "engines/openvino-int8",
    ]
    assert made[5] == "graphs/float", "the reference of every engine"
    assert [Path(path).name.split("-")[0] for path in made[6:]] == [
        "float",
        "clean",
        "attribution",
        "pgd",
        "measurement",
    ]
    assert lines[0].startswith("begin: harness run --json")
    for line in lines[1:]:  # what is logged is also said
        stage, _, sentence = line.partition(": ")
        assert f"{stage:<9}{sentence}" in finished.ended.err


def test_a_second_run_makes_nothing(workspace: Path, invoke: Invoke) -> None:
    before, held, log = results(workspace), digests(workspace), (workspace / "log.txt").read_text()
    ended = invoke("run", "--workspace", str(workspace), "--json")
    assert ended.code == 0, ended.err
    assert results(workspace) == before
    assert digests(workspace) == held
    lines = log_since(workspace, log)
    assert not [line for line in lines if "made" in line or "again" in line]
    assert len([line for line in lines if line.endswith("is up to date")]) == 11
    said = [line for line in ended.err.splitlines() if line.endswith("is up to date")]
    assert said == [f"everything in {workspace} is up to date"]
    assert "checkpoints/base is up to date" in invoke("run", "--workspace", str(workspace), "--json", "-v").err


def test_another_attack_adds_a_result_and_leaves_the_old_one(workspace: Path, invoke: Invoke) -> None:
    before = results(workspace)
    arguments = ("eval", "--workspace", str(workspace), "--attack", "pgd", "--epsilon", "0.05,0.2", "--json")
    ended = invoke(*arguments)
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert [entry["epsilon"] for entry in document["robustness"]] == [0.05, 0.2]
    worst = [entry["worst_case"]["value"] for entry in document["robustness"]]
    assert worst[1] <= worst[0] <= document["accuracy"]["clean"]["value"]
    after = results(workspace)
    assert len(after) == 2
    assert before.items() <= after.items()
    assert document["latency"] == json.loads(next(iter(before.values())))["latency"]
    assert "epsilon = [\n    0.1,\n]" in (workspace / "experiment.toml").read_text()  # an aside is not recorded

    again = invoke(*arguments)
    assert json.loads(again.out) == [document]
    assert results(workspace) == after


def test_engines_of_another_backend(workspace: Path, invoke: Invoke) -> None:
    ended = invoke("build", "--workspace", str(workspace), "--backend", "onnxruntime", "--precision", "int8,fp32")
    assert ended.code == 0, ended.err
    built = {folder.name for folder in (workspace / "engines").iterdir()}
    assert built == {"openvino-int8", "onnxruntime-int8", "onnxruntime-fp32"}
    manifest = json.loads((workspace / "engines/onnxruntime-fp32/manifest.json").read_text())
    assert manifest["parents"][0]["path"] == "graphs/float"
    assert len(results(workspace)) == 1


def test_measuring_a_precision_builds_it_and_joins_no_foreign_numbers(workspace: Path, invoke: Invoke) -> None:
    ended = invoke("measure", "--workspace", str(workspace), "--precision", "fp32", "--json")
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["subject"]["precision"] == "fp32"
    assert document["accuracy"]["clean"] is None
    assert document["accuracy"]["reason"] == "'harness eval' has not been run"
    assert document["robustness"] == []
    assert document["robustness_reason"] == "'harness eval' has not been run"
    assert document["latency"][0]["mean_ms"] > 0
    assert document["memory"]["engine_bytes"] > 0


def test_a_report_needs_no_torch(workspace: Path, tmp_path: Path) -> None:
    (workspace / "report.html").unlink()
    env = without(["torch", "openvino", "onnxruntime", "onnx"], tmp_path / "blocked")
    ended = run("report", "--workspace", str(workspace), cwd=tmp_path, env=env)
    assert ended.code == 0, ended.err
    assert "openvino int8" in ended.out
    assert "<html" in (workspace / "report.html").read_text()


def test_a_report_into_a_pipe_that_closes_is_no_failed_gate(workspace: Path, tmp_path: Path) -> None:
    import subprocess

    from .processes import command

    for flags in ([], ["--json"]):
        process = subprocess.Popen(
            command("report", "--workspace", str(workspace), *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait(timeout=60) == 0, errors
        assert "Traceback" not in errors


def test_a_carried_engine_is_measured_without_torch_and_nothing_else_is_made(workspace: Path, tmp_path: Path) -> None:
    board = tmp_path / "board" / "digits"
    board.mkdir(parents=True)
    shutil.copyfile(workspace / "experiment.toml", board / "experiment.toml")
    shutil.copytree(workspace / "engines", board / "engines")
    held = digests(board)
    env = without(["torch", "torchvision", "sklearn", "safetensors", "torch_pruning"], tmp_path / "blocked")
    ended = run("measure", "--workspace", str(board), "--batch", "1", "--json", cwd=tmp_path, env=env)
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    assert document["latency"][0]["mean_ms"] > 0
    assert [link["kind"] for link in document["lineage"]] == ["engine"]
    assert document["subject"]["parameters"] is None
    assert held.items() <= digests(board).items()
    assert {path.name for path in board.iterdir()} == {
        ".lock",
        "engines",
        "experiment.toml",
        "fragments",
        "log.txt",
        "results",
    }
    assert tree(board / "engines") == tree(workspace / "engines")

    # Attacks need the very model that the engine was made from: another one is not trained in its place. Without
    # gradients it is the float graph that is needed.
    for environment, why in ((env, "without graphs/float"), (None, "was not made from the model in this run folder")):
        refused = run("eval", "--workspace", str(board), cwd=tmp_path, env=environment)
        assert refused.code == 2
        assert why in refused.err.splitlines()[-1]
        assert not (board / "checkpoints").exists()
    shutil.copytree(workspace / "checkpoints", board / "checkpoints")
    evaluated = run("eval", "--workspace", str(board), "--json", cwd=tmp_path)
    assert evaluated.code == 0, evaluated.err
    (document,) = json.loads(evaluated.out)
    assert document["robustness"][0]["worst_case"]["n"] > 0
    assert document["latency"][0]["mean_ms"] > 0, "what was measured before joins"


def test_training_packages_that_are_missing_are_named(tmp_path: Path) -> None:
    env = without(["torch", "torchvision", "sklearn", "safetensors", "torch_pruning"], tmp_path / "blocked")
    refused = run("train", cwd=tmp_path, env=env)
    assert refused.code == 4
    assert "pip install" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err


def test_a_result_keeps_what_other_commands_found(workspace: Path, invoke: Invoke) -> None:
    noise = ("--attack", "noise", "--epsilon", "0.05,0.2")
    evaluated = invoke("eval", "--workspace", str(workspace), *noise, "--json")
    assert evaluated.code == 0, evaluated.err
    (document,) = json.loads(evaluated.out)
    assert [entry["epsilon"] for entry in document["robustness"]] == [0.05, 0.2]
    assert [entry["batch"] for entry in document["latency"]] == [1]
    measured = invoke("measure", "--workspace", str(workspace), "--batch", "2", "--json")
    assert measured.code == 0, measured.err
    (document,) = json.loads(measured.out)
    assert [entry["batch"] for entry in document["latency"]] == [2]
    assert {0.05, 0.2} <= {entry["epsilon"] for entry in document["robustness"]}
    assert document["accuracy"]["clean"]["value"] > 0


def test_a_precision_that_no_chosen_backend_has_is_refused(workspace: Path, invoke: Invoke) -> None:
    ended = invoke("build", "--workspace", str(workspace), "--backend", "openvino,torch", "--precision", "int8,fp16")
    assert ended.code == 2
    assert "fp16" in ended.err


def test_a_changed_byte_in_a_checkpoint_is_mended(workspace: Path, invoke: Invoke) -> None:
    before, documents = digests(workspace), results(workspace)
    weights = workspace / "checkpoints/final/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    ended = invoke("run", "--workspace", str(workspace), "--json")
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.err.splitlines() if "digest differs" in line]
    assert str(weights) in line
    assert "made again" in line
    assert digests(workspace) == before
    assert results(workspace) == documents  # the same checkpoint again: what follows from it stands


def test_tiny_settings_are_recorded(finished: Finished) -> None:
    recorded = (finished.workspace / "experiment.toml").read_text()
    assert 'name = "digits"' in recorded
    for setting in TINY[1::2]:
        key, value = setting.split(".")[1].split("=")
        assert f"{key} = " in recorded
        assert value in recorded
