from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from reports.document import ResultDocument, read_document

pytestmark = pytest.mark.core

Build = Callable[..., ResultDocument]


def test_a_document_survives_its_file(tmp_path: Path, sample: Build) -> None:
    document = sample()
    path = tmp_path / "result.json"
    path.write_text(document.to_json(), encoding="utf-8")
    assert read_document(path) == document


def test_what_was_not_measured_is_written_as_null_and_not_left_out(sample: Build) -> None:
    written = json.loads(sample().to_json())
    assert written["energy"]["joules_per_inference"] is None
    assert written["energy"]["reason"]
    assert written["latency"][1]["p99_ms"] is None
    assert written["environment"]["gpu"] is None


def test_keys_of_a_later_minor_version_are_passed_over(sample: Build) -> None:
    value = {**json.loads(sample().to_json()), "carbon_kg": 1.0}
    assert ResultDocument.model_validate(value) == sample()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused(sample: Build, number: float) -> None:
    value = sample().model_dump()
    for place in (value["latency"][0], value["robustness"][0]["arms"]["loop"], value["device"]["before"]):
        key = "mean_ms" if "mean_ms" in place else "seconds" if "seconds" in place else "cpu_mhz"
        kept, place[key] = place[key], number
        with pytest.raises(ValidationError):
            ResultDocument.model_validate(value)
        place[key] = kept
    assert ResultDocument.model_validate(value) == sample()


def test_a_document_of_before_the_precision_audit_is_read(sample: Build) -> None:
    value = json.loads(sample().to_json())
    del value["precision"]
    assert ResultDocument.model_validate(value) == sample(precision=None)


@pytest.mark.parametrize("share", [-0.01, 1.01])
def test_an_accuracy_outside_0_to_1_is_refused(sample: Build, share: float) -> None:
    with pytest.raises(ValidationError, match=r"accuracy\.clean\.value"):
        sample(accuracy={"clean": {"value": share, "n": 10, "ci95": [0, 1]}, "reference": None, "flips": None})
