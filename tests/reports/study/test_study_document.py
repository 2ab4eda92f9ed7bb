from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError
from contracts.files import write_json
from reports.address import parse_address
from reports.study.document import StudyDocument, check_known, read_study
from reports.study.features import read_features
from tests.reports.study.planted import ROBUSTNESS, planted, planted_features, planted_values

pytestmark = pytest.mark.core


def test_a_study_reads_back_as_itself(tmp_path: Path) -> None:
    study = planted(seeds=2)
    write_json(tmp_path / "study.json", study.to_json())
    assert read_study(tmp_path / "study.json") == study
    assert next(iter(study.to_json())) == "schema_version"


def test_unknown_keys_are_let_be_and_what_may_be_left_out_is_none() -> None:
    values = planted_values(seeds=1)
    cell = {"id": "a", "base": "robust", "compression": "none", "sparsity": 0, "bits": 32, "quantization": None}
    values["cells"] = [{**cell, "finetune": "none", "seed": 0, "colour": "blue"}]
    read = StudyDocument.from_json({**values, "later": 1})
    assert read.cells[0].numbers == {"parameters": None, "macs": None, "finetune_passes": None}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base": "strong"}, "cells.0.base"),
        ({"bits": 0}, "cells.0.bits"),
        ({"sparsity": 1.5}, "cells.0.sparsity"),
        ({"state": "gone"}, "cells.0.state"),
        ({"quantities": {"accuracy.clean": float("nan")}}, "cells.0.quantities"),
        ({"quantities": {"accuracy..clean": 0.5}}, "'accuracy..clean' cannot be read"),
    ],
)
def test_foreign_values_are_refused_with_their_place(change: dict[str, Any], sentence: str) -> None:
    values = planted_values(seeds=1)
    values["cells"][0] |= change
    with pytest.raises(InputError, match=sentence):
        StudyDocument.from_json(values)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "is not whole JSON"), ("[]", "no schema_version"), ('{"schema_version": 2}', "upgrade it")],
)
def test_foreign_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_study(tmp_path / "study.json")


def test_quantities_are_found_by_meaning_and_unknown_ones_by_their_nearest() -> None:
    values = planted_values(seeds=1)
    values["cells"][0]["quantities"] = {"robustness[epsilon=5e-2,attack=pgd].worst_case": 0.5}
    study = StudyDocument.from_json(values)
    assert study.cells[0].numbers[ROBUSTNESS] == 0.5
    with pytest.raises(InputError, match=r"did you mean 'memory.engine_bytes'"):
        check_known([parse_address("memory.engine_byte")], study.cells)


def test_points_are_read_and_foreign_ones_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "features.json", planted_features(panels=2, points=20)
    path.write_text(json.dumps(values))
    assert [len(panel.points) for panel in read_features(path)] == [20, 20]
    values["panels"][1]["points"][0][2] = 10
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="class 10, which has no name"):
        read_features(path)
    values["panels"][1]["points"][0][0] = float("nan")
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"panels.1.points.0.0"):
        read_features(path)


def test_reading_a_study_loads_no_runtime_and_no_library_for_showing() -> None:
    code = (
        "import sys, reports.study.page, reports.study.terminal, reports.study.best\n"
        "heavy = {'torch', 'openvino', 'onnxruntime', 'onnx', 'plotly', 'rich', 'scipy', 'harness'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
