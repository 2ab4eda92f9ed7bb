"""An option of one command does not decide what models are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import InputError
from harness.progress import Silent
from harness.workflow.calibration_images import settings
from harness.workflow.context import Context
from harness.workflow.settings import RECORD, check, record, resolve

pytestmark = pytest.mark.core


def test_calibration_images_are_those_of_the_recorded_experiment() -> None:
    recorded = check({"quantize": {"calibration_data": "adversarial"}, "eval": {"epsilon": 0.1}}, "here")
    aside = check(
        {"quantize": {"calibration_data": "adversarial"}, "eval": {"epsilon": 0.3, "attack": "noise"}}, "here"
    )
    context = Context("digits", recorded, Path("runs/digits"), None, Silent(), "harness eval", recorded)
    asked = replace(context, experiment=aside)
    assert settings(asked, "adversarial") == settings(context, "adversarial")
    assert settings(asked, "adversarial")["attack"]["epsilon"] == 0.1


def test_a_file_of_another_name_is_another_setting() -> None:
    def of(file: str) -> object:
        experiment = check({"data": {"calibration": file}}, "here")
        return settings(Context("digits", experiment, Path(), None, Silent(), "harness quantize"), "clean")

    assert of("images.npz") != of("imagse.npz")


def test_a_refused_setting_is_taken_back(tmp_path: Path) -> None:
    workspace = tmp_path / "runs"
    first = resolve("digits", workspace, ["seed=1"])
    taken_back = record(first)
    before = (workspace / RECORD).read_text()
    record(resolve(None, workspace, ["seed=2"]))()
    assert (workspace / RECORD).read_text() == before
    taken_back()
    assert not (workspace / RECORD).exists()


def test_naming_a_model_takes_the_other_kind_back(tmp_path: Path) -> None:
    found = resolve("digits", tmp_path / "runs", ["model.factory=package.module:callable"])
    assert (found.experiment.model.name, found.experiment.model.factory) == (None, "package.module:callable")


def test_an_onnx_file_does_not_take_over_the_folder_of_a_trained_model(tmp_path: Path) -> None:
    workspace = tmp_path / "runs"
    record(resolve("digits", workspace, []))
    with pytest.raises(InputError, match="holds a model that is not an ONNX file: choose another --workspace"):
        resolve(None, workspace, [], tmp_path / "digits.onnx")
    given = tmp_path / "given"
    record(resolve(None, given, [], tmp_path / "digits.onnx"))
    assert resolve(None, given, ["seed=3"]).experiment.model.onnx == str(tmp_path / "digits.onnx")
