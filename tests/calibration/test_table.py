from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from calibration.table import CalibrationTable, TensorScale
from contracts.errors import InputError

pytestmark = pytest.mark.core

TABLE = CalibrationTable(
    method="minmax",
    bits=8,
    sample_ids=(4, 1, 7),
    tensors={"relu": TensorScale((0.1,)), "conv.weight": TensorScale((1e-10, 0.30000001192092896), 0)},
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


def test_half_a_table_is_refused(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "table.json")
    text = (tmp_path / "table.json").read_text()
    (tmp_path / "table.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="not whole JSON"):
        CalibrationTable.read(tmp_path / "table.json")


def test_a_scale_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    broken = CalibrationTable("minmax", 8, (), {"x": TensorScale((float("nan"),))})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.write(tmp_path / "table.json")
    assert list(tmp_path.iterdir()) == []
