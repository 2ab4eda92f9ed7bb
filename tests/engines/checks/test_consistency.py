"""Equal engines pass; a wrong row, batch or build is told. The faults are simulated, the engines real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.checks.consistency import batch_consistency, rebuild_spread, row_consistency
from engines.checks.error import LARGEST
from engines.engine import Array, Engine, LoadOptions
from engines.loading import load_engine
from tests.engines.tiny_graphs import CLASSES, SHAPE, built, pixels

pytestmark = pytest.mark.core

LIMIT = 0.01
Fault = Callable[[Array], None]


class Faulty(Engine):
    """A real engine whose scores are spoilt in place (simulated)."""

    def __init__(self, engine: Engine, spoil: Fault) -> None:
        super().__init__(engine.input_shape, engine.classes, engine.options)
        self._engine, self._spoil = engine, spoil

    def _activate(self) -> None:
        self._engine.__enter__()

    def _infer(self, images: Array) -> Array:
        scores = self._engine.infer(images)
        self._spoil(scores)
        return scores

    def _bind(self, images: Array) -> Callable[[], None]:
        return self._engine.bind(images)

    def _deactivate(self) -> None:
        self._engine.__exit__(None, None, None)


def whole(scores: Array) -> None:
    """Spoil nothing."""
    del scores


def last_row(scores: Array) -> None:
    """Spoil the last row of a batch."""
    if len(scores) > 1:
        scores[-1] += 1


def not_a_number(scores: Array) -> None:
    """Spoil one score of every batch."""
    scores[-1, 0] = np.nan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines") / "onnxruntime-fp32"
    built("onnxruntime", "fp32", path)
    return path


@pytest.mark.parametrize(
    ("spoil", "unequal", "largest"), [(whole, 0, 0.0), (last_row, 4, 5**0.5 / 2), (not_a_number, 4, LARGEST)]
)
def test_a_row_that_differs_is_told(folder: Path, spoil: Fault, unequal: int, largest: float) -> None:
    with Faulty(load_engine(folder, LoadOptions(8)), spoil) as engine:
        found = row_consistency(engine, pixels(10), 2.0, LIMIT)
    assert (found.rows, found.images, found.unequal) == (8, 4, unequal)
    assert found.largest == pytest.approx(largest, rel=1e-3)
    assert (found.warning() is None) is (spoil is whole)
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(("spoil", "largest"), [(whole, 0.0), (last_row, 5**0.5 / 2), (not_a_number, LARGEST)])
def test_a_batch_that_differs_is_told(folder: Path, spoil: Fault, largest: float) -> None:
    found = batch_consistency(
        lambda batch: Faulty(load_engine(folder, LoadOptions(batch)), spoil if batch > 1 else whole),
        pixels(16),
        2.0,
        LIMIT,
        8,
    )
    assert (found.batch, found.images) == (8, 16)
    assert (found.warning() is None) is (spoil is whole)
    assert found.largest == pytest.approx(largest, abs=1e-5)
    json.dumps(found.to_json(), allow_nan=False)


def test_roundings_between_batches_are_no_warning(folder: Path) -> None:
    def tremble(scores: Array) -> None:
        scores += 0.005

    with Faulty(load_engine(folder, LoadOptions(8)), whole) as engine:
        rows = row_consistency(engine, pixels(4), 2.0, LIMIT)
    batches = batch_consistency(
        lambda batch: Faulty(load_engine(folder, LoadOptions(batch)), tremble if batch > 1 else whole),
        pixels(16),
        2.0,
        LIMIT,
        8,
    )
    assert rows.warning() is batches.warning() is None
    assert batches.largest == pytest.approx(0.005 * CLASSES**0.5 / 2, rel=1e-3)


def test_rebuilds_are_compared_each_with_each() -> None:
    scores = np.eye(6, CLASSES, dtype=np.float32)
    moved = scores.copy()
    moved[2] = moved[2][::-1] + 1e-3
    moved[2, 0] = 9
    same = rebuild_spread([scores, scores, scores], ["a", "a", "a"], 1.0, LIMIT)
    assert (same.builds, same.differing_decisions, same.largest, same.files_differ) == (3, 0, 0.0, False)
    assert same.warning() is None
    found = rebuild_spread([scores, scores + np.float32(1e-3), moved], ["a", "b", "b"], 1.0, LIMIT)
    assert (found.differing_decisions, found.images, found.files_differ) == (1, 6, True)
    assert found.largest == pytest.approx(9, rel=0.1)
    assert "3 builds of one graph" in str(found.warning())
    json.dumps(found.to_json(), allow_nan=False)


def test_real_engines_of_two_builds_are_equal(tmp_path: Path) -> None:
    scores, digests = [], []
    for name in ("one", "two"):
        manifest = built("openvino", "int8", tmp_path / name)
        digests.append(str(sorted(manifest.files.items())))
        with load_engine(tmp_path / name, LoadOptions(4)) as engine:
            scores.append(engine.infer(pixels(8)))
            assert engine.input_shape == SHAPE
    found = rebuild_spread(scores, digests, 1.0, LIMIT)
    assert found.warning() is None
    assert found.differing_decisions == 0
