"""Wrong usage and wrong input: exit code 2, one sentence with the way out, nothing half-written."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from .conftest import Invoke
from .processes import Ended, tree

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def sentence(ended: Ended) -> str:
    """Return the one sentence of a refusal."""
    assert ended.code == 2
    assert ended.out == ""
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert ended.err.splitlines()[-1] == line
    return line


def usage(ended: Ended) -> str:
    """Return the last line of a refusal by the command line's own grammar."""
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("Usage: ")
    return ended.err.splitlines()[-1]


@pytest.mark.core
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--set", "train.epoch=1"], "unknown key train.epoch; did you mean 'epochs'?"),
        (["run", "digit"], "unknown experiment 'digit'; did you mean 'digits'?"),
        (["run", "missing.toml"], "missing.toml cannot be read"),
        (["train", "--set", "data.name=digts"], "unknown data set 'digts'; did you mean 'digits'?"),
        (["build", "--backend", "openvin"], "unknown backend 'openvin'; did you mean 'openvino'?"),
        (["build", "--precision", "int9"], "unknown precision 'int9'; did you mean 'int8'?"),
        (["build", "--calibrator", "entropi"], "unknown calibrator 'entropi'"),
        (["eval", "--backend", "openvino,tensor"], "unknown backend 'tensor'"),
        (["eval", "--attack", "pdg"], "unknown attack 'pdg'; did you mean 'pgd'?"),
        (["eval", "--arms", "transfer,lop"], "unknown arm 'lop'; did you mean 'loop'?"),
        (["eval", "--epsilon", "nan"], "eval.epsilon.0: Input should be a finite number, got nan"),
        (["eval", "--epsilon", "0.1,inf"], "eval.epsilon.1: Input should be a finite number, got inf"),
        (["eval", "--epsilon", "2"], "eval.epsilon.0: Input should be less than or equal to 1, got 2"),
        (["eval", "--epsilon", "-1"], "eval.epsilon.0: Input should be greater than 0, got -1"),
        (["eval", "--epsilon", ","], "an empty list"),
        (["measure", "--batch", "0"], "measure.batch.0: Input should be greater than or equal to 1, got 0"),
        (["measure", "--batch", "1,-2"], "measure.batch.1: Input should be greater than or equal to 1, got -2"),
        (["measure", "--profile", "nonsense"], "unknown profile 'nonsense'; known: ci, mlperf, quick"),
        (["report"], "no results in runs/digits: `harness run` makes them"),
        (["report", "--workspace", "nowhere"], "no results in nowhere"),
        (["run", "--set", "seed=-1", "--set", "measure.batch=0", "--set", "train.epoch=3"], "(built in): "),
    ],
)
def test_it_is_refused_before_anything_is_written(
    invoke: Invoke, cwd: Path, arguments: list[str], expected: str
) -> None:
    assert expected in sentence(invoke(*arguments))
    assert tree(cwd) == []


@pytest.mark.core
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["eval", "--epsilon", "a"], "'a' is not a list of number"),
        (["eval", "--samples", "0"], "0 is not in the range x>=1"),
        (["eval", "--samples", "1.5"], "'1.5' is not a valid integer"),
        (["measure", "--batch", "1,b"], "'1,b' is not a list of integer"),
        (["measure", "--batches", "1"], "No such option"),
        (["mesure"], "No such command 'mesure'"),
        (["run", "digits", "fashion-mnist"], "unexpected extra argument"),
    ],
)
def test_the_grammar_of_the_command_line_is_held(
    invoke: Invoke, cwd: Path, arguments: list[str], expected: str
) -> None:
    assert expected.lower() in usage(invoke(*arguments)).lower()
    assert tree(cwd) == []


@pytest.mark.core
def test_an_unknown_key_in_the_folders_own_file(invoke: Invoke, cwd: Path) -> None:
    (cwd / "harness.toml").write_text("[measure]\nbatches = 1\n")
    found = sentence(invoke("run"))
    assert found.startswith("error: harness.toml: unknown key measure.batches; did you mean 'batch'?")
    assert tree(cwd) == ["harness.toml"]


@pytest.mark.core
def test_a_folder_without_the_data_set_names_three_ways_out(invoke: Invoke, cwd: Path) -> None:
    (cwd / "empty").mkdir()
    found = sentence(invoke("train", "fashion-mnist", "--data-dir", "empty"))
    for way in ("--data-dir DIR", "$HARNESS_DATA", "apt-get install dataset-fashion-mnist"):
        assert way in found
    assert tree(cwd) == ["empty"]


def nothing_made(workspace: Path) -> None:
    """Assert that a run folder holds the experiment and the log, which tells what happened, and nothing half-made."""
    assert [
        path
        for path in workspace.rglob("*")
        if path.is_file() and path.name not in {".lock", "experiment.toml", "log.txt"}
    ] == []
    assert list(workspace.rglob(".*.staging")) == []
    assert "error: " in (workspace / "log.txt").read_text()


@pytest.mark.core
def test_a_truncated_idx_file_is_named(invoke: Invoke, cwd: Path) -> None:
    data = cwd / "data"
    data.mkdir()
    for name in FILES:
        whole = gzip.compress(b"\0\0\x08\x01\0\0\0\x0a" + bytes(10))
        (data / f"{name}.gz").write_bytes(whole[: len(whole) // 2])
    found = sentence(invoke("train", "fashion-mnist", "--data-dir", "data"))
    assert f"{FILES[0]}.gz" in found
    nothing_made(cwd / "runs" / "fashion-mnist")


@pytest.mark.core
@pytest.mark.parametrize("damage", ["truncated", "text", "pickled"])
def test_a_corrupt_npz_is_named(invoke: Invoke, cwd: Path, damage: str) -> None:
    images = np.array([object()]) if damage == "pickled" else np.zeros((20, 1, 8, 8), np.float32)
    np.savez(cwd / "mine.npz", images=images, labels=np.arange(20) % 10)
    if damage == "truncated":
        whole = (cwd / "mine.npz").read_bytes()
        (cwd / "mine.npz").write_bytes(whole[: len(whole) // 2])
    if damage == "text":
        (cwd / "mine.npz").write_text("not an archive")
    found = sentence(invoke("train", "--set", "data.name=npz", "--set", "data.path=mine.npz"))
    assert "mine.npz" in found
    nothing_made(cwd / "runs" / "digits")


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (".safetensors", "network.0.weight has shape (32, 1, 3, 3) in the model, the checkpoint has shape (2, 2)"),
        (".pt", "network.0.weight has shape (32, 1, 3, 3) in the model, the checkpoint has shape (2, 2)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_first_key_and_both_shapes(
    invoke: Invoke, cwd: Path, suffix: str, expected: str
) -> None:
    import torch
    from safetensors.torch import save_file

    weights = {"mean": torch.zeros(1, 1, 1, 1), "std": torch.ones(1, 1, 1, 1), "network.0.weight": torch.zeros(2, 2)}
    path = cwd / f"other{suffix}"
    if suffix == ".pt":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    found = sentence(invoke("train", "--set", f"model.checkpoint={path.name}"))
    assert expected in found
    nothing_made(cwd / "runs" / "digits")


def test_a_checkpoint_that_wants_to_execute_is_refused(invoke: Invoke, cwd: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(cwd / "executed"),))  # type: ignore[return-value]

    (cwd / "trap.pt").write_bytes(pickle.dumps({"weight": Trap()}))
    assert "trap.pt" in sentence(invoke("train", "--set", "model.checkpoint=trap.pt"))
    assert not (cwd / "executed").exists()


def test_a_checkpoint_that_is_missing_is_named(invoke: Invoke, cwd: Path) -> None:
    assert "mine.safetensors does not exist" in sentence(invoke("train", "--set", "model.checkpoint=mine.safetensors"))


FACTORIES = """
from torch import nn

def images(input_shape, classes):
    return nn.Identity()

def one_class_less(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes - 1))

def too_wide(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(65, classes))

def failing(**_):
    raise ZeroDivisionError("by zero")

def no_module():
    return 7

several = 3
"""


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        ("my_factories_for_tests:images", "must return logits of shape (batch, 10)"),
        ("my_factories_for_tests:one_class_less", "for a batch of 2 it returned (2, 9)"),
        ("my_factories_for_tests:too_wide", "cannot take images of shape (2, 1, 8, 8)"),
        ("my_factories_for_tests:failing", "ZeroDivisionError: by zero"),
        ("my_factories_for_tests:no_module", "must return a torch.nn.Module, it returned int"),
        ("my_factories_for_tests:several", "several is a int, no callable"),
        ("my_factories_for_tests:one_class_les", "did you mean 'one_class_less'?"),
        ("no_such_module_for_tests:model", "no module no_such_module_for_tests in"),
        ("my_factories_for_tests", "is not of the form package.module:callable"),
    ],
)
def test_a_factory_that_makes_no_classifier_is_refused(invoke: Invoke, cwd: Path, factory: str, expected: str) -> None:
    (cwd / "my_factories_for_tests.py").write_text(FACTORIES)
    (cwd / "mine.toml").write_text(f"[model]\nfactory = '{factory}'\n[train]\nepochs = 1\n")
    assert expected in sentence(invoke("train", "mine.toml"))
    nothing_made(cwd / "runs" / "mine")


def test_there_is_nothing_to_prune_by_default(invoke: Invoke) -> None:
    assert "there is nothing to prune: set prune.method" in sentence(invoke("prune"))


@pytest.mark.core
def test_a_precision_that_a_backend_lacks_is_refused_before_any_work(invoke: Invoke, cwd: Path) -> None:
    assert "torch has no int8 here: it has fp32, bf16" in sentence(
        invoke("build", "--precision", "int8", "--backend", "torch")
    )
    nothing_made(cwd / "runs" / "digits")
