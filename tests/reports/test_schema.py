from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from reports.document import ResultDocument
from reports.schema import SCHEMA_PATH, schema

pytestmark = pytest.mark.core


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA_PATH.read_text()) == schema(), "refresh it with `python -m reports.schema`"


def test_a_document_satisfies_the_schema_and_a_broken_one_does_not(sample: Callable[..., ResultDocument]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())
    validator.check_schema(schema())
    document = json.loads(sample().to_json())
    validator.validate(document)
    percent = {**document["accuracy"], "clean": {"value": 97.2, "n": 360, "ci95": [0.95, 0.98]}}
    short = [{"kind": "onnx", "sha256": "2b2b", "bytes": 1, "parents": []}]
    for change in ({"accuracy": percent}, {"lineage": short}, {"schema_version": 2}, {"energy": None}):
        assert not validator.is_valid({**document, **change})
    assert not validator.is_valid({key: value for key, value in document.items() if key != "energy"})
