"""What the engines say of themselves reaches the document: its parts have the fields of what they are made from."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from engines.audit import LayerPrecision, PrecisionAudit
from engines.checks.agreement import Agreement
from engines.checks.check import EngineChecks
from engines.checks.consistency import BatchConsistency, RebuildSpread, RowConsistency
from engines.engine import Spans
from engines.tensorrt.inspection.layers import EngineLayer, TensorForm
from harness.devices.watch import Summary
from harness.measurement.energy import Energy, EnergyWindow
from harness.measurement.measurement import Latency
from harness.measurement.memory import Memory, MemoryWindow
from reports import engine_parts, measured_parts
from reports.part import Part

pytestmark = pytest.mark.core


@pytest.mark.parametrize(
    ("made", "part", "besides"),
    [
        (PrecisionAudit, engine_parts.Precision, set()),
        (LayerPrecision, engine_parts.LayerPrecision, set()),
        (EngineLayer, engine_parts.EngineLayer, {"time_ms"}),
        (TensorForm, engine_parts.TensorForm, set()),
        (Agreement, engine_parts.Agreement, set()),
        (RowConsistency, engine_parts.RowConsistency, set()),
        (BatchConsistency, engine_parts.BatchConsistency, set()),
        (RebuildSpread, engine_parts.RebuildSpread, set()),
        (EngineChecks, engine_parts.Checks, set()),
        (Spans, measured_parts.Spans, set()),
        (Latency, measured_parts.Latency, set()),
        (Memory, measured_parts.Memory, set()),
        (MemoryWindow, measured_parts.MemoryWindow, set()),
        (Energy, measured_parts.Energy, set()),
        (EnergyWindow, measured_parts.EnergyWindow, set()),
        (Summary, measured_parts.Summary, set()),
    ],
)
def test_a_part_has_every_field(made: Any, part: type[Part], besides: set[str]) -> None:
    assert set(part.model_fields) == {field.name for field in fields(made)} | besides
