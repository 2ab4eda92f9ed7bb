from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calibration.table import CalibrationTable, TensorScale
from contracts.errors import InputError

pytestmark = pytest.mark.core

TABLE = CalibrationTable(
    method="minmax",
    bits=8,
    images="clean",
    sample_ids=(4, 1, 7),
    keep_float=("head",),
    graph="0" * 64,
    tensors={
        "relu": TensorScale((0.1,), None, "minmax", (0, 4)),
        "conv.weight": TensorScale((1e-10, 0.30000001192092896), 0, "channel maximum", (2, 4, 3, 3)),
    },
)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "table.json")
    assert CalibrationTable.read(tmp_path / "table.json") == TABLE


@pytest.mark.parametrize("scale", [0.0, -0.1, float("nan"), float("inf"), 1e400])
def test_scales_that_no_engine_can_use_are_refused(tmp_path: Path, scale: float) -> None:
    value = TABLE.to_json()
    value["tensors"]["relu"]["scales"] = [0.5, scale]
    (tmp_path / "table.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match="scale of relu is not a positive finite number"):
        CalibrationTable.read(tmp_path / "table.json")


@pytest.mark.parametrize(
    "broken",
    [
        {"method": "minmax"},
        [],
        {**TABLE.to_json(), "tensors": {"relu": {"scales": ["wide"], "axis": None}}},
        {**TABLE.to_json(), "tensors": {"relu": {"scales": 0.1, "axis": None}}},
        {**TABLE.to_json(), "tensors": {"relu": {"scales": [0.1]}}},
        {**TABLE.to_json(), "tensors": ["relu"]},
        {**TABLE.to_json(), "sample_ids": 3},
        {**TABLE.to_json(), "bits": "8"},
        {**TABLE.to_json(), "tensors": {"relu": {"scales": [], "axis": None}}},
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, broken: Any) -> None:
    (tmp_path / "table.json").write_text(json.dumps(broken))
    with pytest.raises(InputError, match=r"table\.json"):
        CalibrationTable.read(tmp_path / "table.json")


def test_a_table_that_was_altered_is_refused(tmp_path: Path) -> None:
    value = TABLE.to_json()
    value["tensors"]["relu"]["scales"] = [0.2]
    (tmp_path / "table.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"was altered .*harness quantize --again"):
        CalibrationTable.read(tmp_path / "table.json")


def test_a_table_is_held_to_the_graph_that_it_was_made_for() -> None:
    shapes = {name: entry.shape for name, entry in TABLE.tensors.items()}
    TABLE.check_belongs(shapes, TABLE.graph)
    for other in ({"relu": (0, 4)}, {**shapes, "relu": (0, 5)}, {**shapes, "add": (0, 4)}):
        with pytest.raises(InputError, match=r"does not belong to this graph: they differ in (relu|add|conv\.weight)"):
            TABLE.check_belongs(other, TABLE.graph)
    with pytest.raises(InputError, match="they differ in the operations that read their tensors"):
        TABLE.check_belongs(shapes, "1" * 64)


def test_half_a_table_is_refused(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "table.json")
    text = (tmp_path / "table.json").read_text()
    (tmp_path / "table.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="not whole JSON"):
        CalibrationTable.read(tmp_path / "table.json")


def test_a_scale_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    broken = replace(TABLE, tensors={"x": TensorScale((float("nan"),), None, "minmax", (0,))})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.write(tmp_path / "table.json")
    assert list(tmp_path.iterdir()) == []
