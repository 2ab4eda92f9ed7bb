"""Wrong usage and wrong input: exit code 2, one sentence with the way out, nothing half-written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from .conftest import Invoke
from .given_graphs import Array, altered, classifier, pictures, write_given
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
        (["quantize", "--max-drop", "0"], "quantize.max_drop: Input should be greater than 0, got 0"),
        (["quantize", "--calibration-data", "dirty"], "Input should be 'clean', 'adversarial' or 'mixed', got 'dirty'"),
        (["quantize", "--calibration-samples", "0"], "data.calibration_samples: Input should be greater than or equal"),
        (["build", "--onnx", "m.onnx", "--set", "model.checkpoint=w.pt"], "model.checkpoint belongs to a torch model"),
        (["build", "--set", 'model={name="cnn8",onnx="m.onnx"}'], "model needs one of name, factory and onnx"),
        (["eval", "--backend", "openvino,tensor"], "unknown backend 'tensor'"),
        (["eval", "--attack", "pdg"], "unknown attack 'pdg'; did you mean 'pgd'?"),
        (["eval", "--arms", "transfer,lop"], "unknown arm 'lop'; did you mean 'loop'?"),
        (["eval", "--epsilon", "nan"], "eval.epsilon.0: Input should be a finite number, got nan"),
        (["eval", "--epsilon", "0.1,inf"], "eval.epsilon.1: Input should be a finite number, got inf"),
        (["eval", "--attack", "autoattack,foo"], "unknown attack 'foo'"),
        (["eval", "--attack", "autoatack"], "unknown attack 'autoatack'; did you mean 'autoattack'?"),
        (["eval", "--norm", "l3"], "eval.norm: Input should be 'linf' or 'l2', got 'l3'"),
        (["eval", "--epsilon", "8"], "for levels of an 8-bit image write 0.03137 (8/255)"),
        (["eval", "--epsilon", "0.1,8", "--norm", "linf"], "epsilon 8 is more than the whole pixel range"),
        (["eval", "--norm", "l2", "--epsilon", "0"], "eval.epsilon.0: Input should be greater than 0, got 0"),
        (["eval", "--epsilon", "-1"], "eval.epsilon.0: Input should be greater than 0, got -1"),
        (["eval", "--epsilon", ","], "an empty list"),
        (["measure", "--batch", "0"], "measure.batch.0: Input should be greater than or equal to 1, got 0"),
        (["measure", "--batch", "1,-2"], "measure.batch.1: Input should be greater than or equal to 1, got -2"),
        (["measure", "--profile", "nonsense"], "unknown profile 'nonsense'; known: ci, mlperf, quick"),
        (["report"], "no results in runs/digits: `harness run`, `harness eval` and `harness measure` make them"),
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


def test_a_width_that_no_engine_runs_is_refused_before_any_work(invoke: Invoke, cwd: Path) -> None:
    found = sentence(invoke("build", "--set", "quantize.bits=4", "--precision", "int8"))
    assert "quantize.bits is 4, which no engine runs: widths other than 8 are simulated" in found
    nothing_made(cwd / "runs" / "digits")


def test_a_torch_model_whose_activations_are_not_finite_names_the_layer(invoke: Invoke, cwd: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from harness.models.build import build_model

    weights = build_model("digits-cnn", None, (1, 8, 8), 10).state_dict()
    weights["network.2.weight"] = torch.full_like(weights["network.2.weight"], torch.nan)
    save_file(weights, "broken.safetensors")
    found = sentence(invoke("quantize", "--set", "model.checkpoint=broken.safetensors"))
    assert (
        "the activations of relu_1 (input of network.4) are not finite: check the model and the calibration images"
        in found
    )
    assert not (cwd / "runs/digits/calibration/post-training").exists()


def with_images(images: Array, key: str = "images") -> None:
    """Write images.npz anew."""
    arrays: dict[str, Any] = {key: images}
    np.savez("images.npz", **arrays)


def with_graph(model: onnx.ModelProto) -> None:
    """Write model.onnx anew."""
    onnx.save(model, "model.onnx")


def with_white_images_that_overflow() -> None:
    """Write a graph whose ReLU exceeds float32 on white images alone, its scores being finite all the same."""
    with_images(np.ones((9, 1, 8, 8), np.float32))
    with_graph(overflowing())


def of_opset(opset: int) -> onnx.ModelProto:
    """Return a graph that says it is of this opset, whether or not there is such a one."""
    model = classifier()
    model.opset_import[0].version = opset
    return model


def quantized() -> onnx.ModelProto:
    """Return a graph whose input goes through a QuantizeLinear."""
    model = classifier()
    model.graph.initializer.append(numpy_helper.from_array(np.array(1 / 127, np.float32), "scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    pair = [
        helper.make_node("QuantizeLinear", ["pixels", "scale", "zero"], ["integers"], "into integers"),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["grid"], "out of integers"),
    ]
    model.graph.node[0].input[0] = "grid"
    for node in reversed(pair):
        model.graph.node.insert(0, node)
    return model


def overflowing() -> onnx.ModelProto:
    """Return a graph of large weights, then small ones and a bound: random images reach no infinity, white ones do."""
    model = altered("conv.weight", np.s_[:], 3.9e37)
    model.graph.node[2].input[0] = "bounded"
    limits = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("low", 0), ("high", 6))]
    model.graph.initializer.extend(limits)
    small = np.full((1, 8, 1, 1), 1e-37, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(small, "small.weight"))
    model.graph.node.insert(2, helper.make_node("Clip", ["shrunk", "low", "high"], ["bounded"], "clip"))
    model.graph.node.insert(2, helper.make_node("Conv", ["relu", "small.weight"], ["shrunk"], "small"))
    head = next(tensor for tensor in model.graph.initializer if tensor.name == "head.weight")
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head)[:, :64].copy(), "head.weight"))
    return model


@pytest.mark.core
@pytest.mark.parametrize(
    ("prepare", "arguments", "expected"),
    [
        (
            lambda: with_images(np.zeros((0, 1, 8, 8), np.float32)),
            [],
            "images.npz: images of shape (0, 1, 8, 8) are none: calibrate on some hundred images",
        ),
        (
            lambda: with_images(np.full((9, 1, 8, 8), np.nan, np.float32)),
            [],
            "images.npz: images lie within [nan, nan]",
        ),
        (lambda: with_images(pictures(9)[0], "pixels"), [], "images.npz has no images, it holds pixels"),
        (
            lambda: with_images(np.zeros((9, 1, 9, 8), np.float32)),
            [],
            "model.onnx takes images of (1, 8, 8) but the images are (1, 9, 8) (channels, height, width)",
        ),
        (
            lambda: with_images(np.zeros((9, 3, 8, 8), np.float32)),
            [],
            "model.onnx takes images of (1, 8, 8) but the images are (3, 8, 8) (channels, height, width)",
        ),
        (lambda: Path("images.npz").unlink(), [], "images.npz is no file: name an .npz file with an array 'images'"),
        (
            lambda: with_graph(altered("conv.weight", (0, 0, 0, 0), np.nan)),
            [],
            "model.onnx: the weight conv.weight holds NaN or infinity",
        ),
        (
            with_white_images_that_overflow,
            [],
            "the activations of relu (input of small) are not finite: check the model and the calibration images",
        ),
        (
            lambda: with_graph(quantized()),
            [],
            "model.onnx is quantized already (node 'into integers' is QuantizeLinear): give the float32 graph",
        ),
        (lambda: with_graph(of_opset(10)), [], "model.onnx has opset 10, and 11 to 23 are read"),
        (lambda: with_graph(of_opset(99)), [], "model.onnx has opset 99, and 11 to 23 are read"),
        (lambda: Path("model.onnx").write_text("no graph"), [], "model.onnx cannot be read as an ONNX graph"),
        (lambda: Path("model.onnx").unlink(), [], "model.onnx is no file: name an ONNX graph"),
        (
            lambda: None,
            ["--calibration-data", "adversarial"],
            "quantize.calibration_data = adversarial needs labels, and images.npz has images alone",
        ),
        (
            lambda: None,
            ["--set", "quantize.keep_float=auto"],
            "quantize.keep_float = auto needs a model with gradients, and a given ONNX graph has none: name the layers",
        ),
        (
            lambda: None,
            ["--set", "quantize.keep_float=cnov"],
            "unknown layer in quantize.keep_float 'cnov'; did you mean 'conv'?",
        ),
        (lambda: None, ["--set", "quantize.bits=4"], "a given ONNX graph is quantized to 8 bits alone"),
    ],
)
def test_a_given_graph_or_its_images_are_refused(
    invoke: Invoke, cwd: Path, prepare: Callable[[], object], arguments: list[str], expected: str
) -> None:
    write_given(cwd)
    prepare()
    calibration = ("--calibration", "images.npz")
    found = sentence(invoke("build", "--onnx", "model.onnx", "--precision", "int8", *calibration, *arguments))
    assert expected in found
    made = {path.name for path in (cwd / "runs/model").rglob("*") if path.suffix in {".onnx", ".json", ".xml"}}
    assert made <= {"graph.onnx", "manifest.json"}, "the float graph may be whole, and nothing is made of it"
    assert not (cwd / "runs/model/calibration/post-training").exists()


@pytest.mark.core
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["build", "--precision", "int8"], "none are named for model.onnx: name a file of some hundred with --calib"),
        (
            ["quantize", "--set", "data.path=wide.npz"],
            "the calibration images (clean) are (1, 9, 8) (channels, height, width) but the model takes (1, 8, 8)",
        ),
        (
            ["quantize", "--set", "data.path=test.npz", "--calibration-data", "mixed"],
            "quantize.calibration_data = mixed needs gradients, and a given ONNX graph has none: use clean",
        ),
        (
            ["eval", "--precision", "fp32", "--set", "data.path=wide.npz"],
            "the images of the data set npz are (1, 9, 8) (channels, height, width) but the model takes (1, 8, 8)",
        ),
        (
            ["eval", "--precision", "fp32", "--set", "data.path=many.npz"],
            "the data set npz has labels up to 11 but the model has 10 classes",
        ),
        (["train"], "model.onnx, which has no gradients: train needs a torch model; quantize, export, build, eval"),
        (["prune"], "model.onnx, which has no gradients: prune needs a torch model"),
        (["finetune"], "model.onnx, which has no gradients: finetune needs a torch model"),
        (
            ["quantize", "--calibration", "images.npz", "--sensitivity"],
            "model.onnx, which has no gradients: sensitivity needs a torch model",
        ),
    ],
)
def test_what_a_given_graph_cannot_do_is_refused(
    invoke: Invoke, cwd: Path, arguments: list[str], expected: str
) -> None:
    write_given(cwd)
    np.savez("wide.npz", images=np.zeros((60, 1, 9, 8), np.float32), labels=np.arange(60) % 10)
    np.savez("many.npz", images=np.zeros((60, 1, 8, 8), np.float32), labels=np.arange(60) % 12)
    assert expected in sentence(invoke(arguments[0], "--onnx", "model.onnx", *arguments[1:]))


@pytest.mark.core
def test_a_channel_that_is_zero_throughout_is_no_error(invoke: Invoke, cwd: Path) -> None:
    write_given(cwd)
    with_graph(altered("conv.weight", 3, 0.0))
    ended = invoke("build", "--onnx", "model.onnx", "--precision", "int8", "--calibration", "images.npz")
    assert ended.code == 0, ended.err
    assert (cwd / "runs/model/engines/openvino-int8/manifest.json").exists()
