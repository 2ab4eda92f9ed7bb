from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError
from contracts.files import canonical_json
from harness.progress import Silent
from harness.workflow.artifact import Task
from harness.workflow.context import Context
from harness.workflow.origin import Given, Origin, Trained, origin
from harness.workflow.settings import check

pytestmark = pytest.mark.core

Own = dict[str, Any]
"""By an artifact's place: all that decides it but its parents."""


@pytest.fixture(autouse=True)
def _in_a_folder_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.onnx", "images.npz", "others.npz"):
        Path(name).write_bytes(name.encode())


def made_of(**sections: Any) -> Origin:
    """Return where a model comes from; a section is a dict, or a value for the experiment itself."""
    return origin(Context("any", check(sections, "values"), Path("runs/any"), None, Silent(), "harness build"))


def trained(**sections: Any) -> Origin:
    return made_of(**{"data": {"name": "npz", "path": "mine.npz"}, **sections})


def given(**sections: Any) -> Origin:
    return made_of(
        **{"data": {"name": "npz", "calibration": "images.npz"}, "model": {"onnx": "model.onnx"}, **sections}
    )


def own(*tasks: Task) -> Own:
    """Return what decides these artifacts and those they are made from."""
    found: Own = {}
    for task in tasks:
        inputs = [(each.kind, each.digest()) for each in task.inputs]
        found[task.path] = canonical_json([task.settings, inputs, [parent.path for parent in task.parents]])
        found |= own(*task.parents)
    return found


def graphs(model: Origin) -> Own:
    return own(*(model.graph(kind) for kind in ("float", "int8", "fp16", "bf16")))


def made_again(before: Own, after: Own) -> set[str]:
    """Return the places of what is not what it was; their children follow, if these come out otherwise."""
    return {path for path in after if after[path] != before.get(path)}


def test_a_trained_models_graphs_come_from_its_final_checkpoint() -> None:
    model = trained()
    assert isinstance(model, Trained)
    assert set(graphs(model)) == {
        "checkpoints/base",
        "calibration/post-training",
        "checkpoints/final",
        "graphs/float",
        "graphs/int8",
        "graphs/fp16",
        "graphs/bf16",
    }
    assert [parent.path for parent in model.graph("int8").parents] == ["checkpoints/final"]
    assert [parent.path for parent in model.graph("bf16").parents] == ["graphs/float"]


def test_a_given_graph_is_its_own_reference_and_alone_is_calibrated() -> None:
    model = given()
    assert isinstance(model, Given)
    assert set(graphs(model)) == {
        "graphs/float",
        "calibration/post-training",
        "graphs/int8",
        "graphs/fp16",
        "graphs/bf16",
    }
    assert model.final.path == model.graph("float").path == "graphs/float"
    assert set(own(model.graph("float"))) == {"graphs/float"}, "FP32 needs no ranges"


@pytest.mark.parametrize("of", [trained, given])
def test_export_makes_every_kind_of_graph(of: Callable[[], Origin]) -> None:
    paths = [task.path for task in of().stage("export")]
    assert paths == ["graphs/float", "graphs/int8", "graphs/fp16", "graphs/bf16"]


@pytest.mark.parametrize("stage", ["train", "prune", "finetune", "sensitivity"])
def test_a_given_graph_has_no_stage_that_needs_gradients(stage: str) -> None:
    with pytest.raises(InputError, match=f"ONNX file model.onnx, which has no gradients: {stage} needs a torch model"):
        given().stage(stage)


def test_nobody_can_choose_the_layers_of_a_given_graph() -> None:
    model = given(quantize={"keep_float": "auto"})
    assert model.graph("float").path == "graphs/float"
    for refused in (lambda: model.graph("int8"), lambda: model.stage("quantize")):
        with pytest.raises(InputError, match=r"keep_float = auto needs a model with gradients.*name the layers"):
            refused()


def test_a_graph_has_its_weights_inside() -> None:
    with pytest.raises(InputError, match=r"model\.checkpoint belongs to a torch model.*remove it"):
        check({"model": {"onnx": "model.onnx", "checkpoint": "weights.pt"}}, "values")


@pytest.mark.parametrize("model", [{}, {"name": "digits-cnn", "onnx": "model.onnx"}])
def test_a_model_comes_from_one_place(model: dict[str, str]) -> None:
    with pytest.raises(InputError, match="model needs one of name, factory and onnx"):
        check({"model": model}, "values")


def test_the_layers_that_stay_in_float_are_chosen_before_fine_tuning() -> None:
    model = trained(quantize={"keep_float": "auto"})
    assert isinstance(model, Trained)
    chosen = model.ranges
    assert chosen.path == "calibration/mixed-precision"
    assert [parent.path for parent in chosen.parents] == [
        "checkpoints/base",
        "calibration/post-training",
        "calibration/sensitivity",
    ]
    assert chosen.path in {parent.path for parent in model.final.parents}
    assert [task.path for task in model.stage("quantize")] == [chosen.path]
    # All layers are calibrated and ranked whatever is chosen of them in the end.
    assert "keep_float" not in str(own(model.stage("sensitivity")[0])["calibration/sensitivity"])


BOTH = {"calibration/post-training", "graphs/fp16"}


def named(value: object) -> str:
    """Return a case's name, the same in every process of a run: a set has no order."""
    return str(sorted(value) if isinstance(value, set) else value)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"quantize": {"calibrator": "entropy"}}, {"calibration/post-training"}),
        ({"quantize": {"calibration_data": "mixed"}}, {"calibration/post-training"}),
        ({"quantize": {"keep_float": ["network.4"]}}, {"calibration/post-training"}),
        ({"data": {"name": "npz", "path": "mine.npz", "calibration_samples": 8}}, BOTH),
        ({"data": {"name": "npz", "path": "mine.npz", "calibration": "images.npz"}}, BOTH),
        ({"quantize": {"max_drop": 2.0, "sensitivity_samples": 8}}, set()),
        ({"eval": {"epsilon": 0.2}, "measure": {"batch": 3}, "build": {"backend": "onnxruntime"}}, set()),
        ({"finetune": {"epochs": 9}}, {"checkpoints/final"}),
        ({"train": {"epochs": 9}}, {"checkpoints/base"}),
    ],
    ids=named,
)
def test_a_setting_makes_again_what_it_decides_and_no_more(changed: dict[str, Any], expected: set[str]) -> None:
    assert made_again(graphs(trained()), graphs(trained(**changed))) == expected


ADVERSARIAL = {"calibration_data": "adversarial"}
AUTO = {"keep_float": "auto"}
RANKED = {"calibration/sensitivity", "calibration/mixed-precision"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"quantize": ADVERSARIAL}, {"eval": {"epsilon": 0.2}}, {"calibration/post-training"}),
        ({"quantize": ADVERSARIAL}, {"attack": {"pgd": {"steps": 3}}}, {"calibration/post-training"}),
        ({"quantize": AUTO}, {"quantize": {**AUTO, "max_drop": 2.0}}, {"calibration/mixed-precision"}),
        ({"quantize": AUTO}, {"quantize": {**AUTO, "sensitivity_samples": 8}}, RANKED),
        ({"quantize": AUTO}, {"eval": {"epsilon": 0.2}}, RANKED),
        ({"quantize": AUTO}, {"eval": {"epsilon": [0.05, 0.2]}}, set()),
        ({"quantize": AUTO}, {"attack": {"pgd": {"steps": 3}}}, RANKED),
        ({"quantize": AUTO}, {"quantize": {**AUTO, "calibrator": "mse"}}, {"calibration/post-training"}),
        ({}, {"quantize": AUTO}, {*RANKED, "checkpoints/final"}),
    ],
    ids=named,
)
def test_the_attack_decides_where_ranges_or_layers_rest_on_it(
    before: dict[str, Any], after: dict[str, Any], expected: set[str]
) -> None:
    assert made_again(graphs(trained(**before)), graphs(trained(**{**before, **after}))) == expected


def test_a_changed_file_of_images_calibrates_again() -> None:
    before = graphs(given())
    assert made_again(before, graphs(given(data={"name": "npz", "calibration": "others.npz"}))) == {
        "graphs/float",  # the images fix what the file leaves free
        *BOTH,
    }
    Path("images.npz").write_bytes(b"others of the same name")
    assert made_again(before, graphs(given())) == {"graphs/float", *BOTH}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"quantize": {"calibrator": "entropy"}}, {"calibration/post-training"}),
        ({"quantize": {"keep_float": ["conv"]}}, {"calibration/post-training"}),
        ({"train": {"epochs": 9}, "eval": {"epsilon": 0.2}, "measure": {"batch": 3}}, set()),
    ],
    ids=named,
)
def test_of_a_given_graph_too(changed: dict[str, Any], expected: set[str]) -> None:
    assert made_again(graphs(given()), graphs(given(**changed))) == expected


def test_another_graph_under_the_same_name_is_another_model() -> None:
    before = graphs(given())
    Path("model.onnx").write_bytes(b"trained for longer")
    assert made_again(before, graphs(given())) == {"graphs/float"}


def test_layers_are_a_set_however_they_are_written() -> None:
    one, other = (given(quantize={"keep_float": names}) for names in (["b", "a", "a"], ["a", "b"]))
    assert graphs(one) == graphs(other)
    assert graphs(given(quantize={"keep_float": "a"})) == graphs(given(quantize={"keep_float": ["a"]}))
