"""A board's view: a stored INT8 engine, made elsewhere, is loaded, run, measured and reported by the core alone.

`stored/` is part of a run folder of `harness run digits`; `expected.npz` holds test images (pixels times 16), their
labels and the scores of the graph that the engine was built from, by ONNX Runtime with its optimizations off.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines.engine import LoadOptions
from engines.loading import load_engine

pytestmark = pytest.mark.core

STORED = Path(__file__).parent / "stored"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a copy of the stored run folder."""
    return Path(shutil.copytree(STORED, tmp_path / "digits"))


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.skipif("HARNESS_CORE_ONLY" not in os.environ, reason="only where the core alone is installed")
def test_torch_is_not_installed() -> None:
    assert find_spec("torch") is None


def test_the_engine_decides_as_its_graph() -> None:
    expected = np.load(STORED / "expected.npz", allow_pickle=False)
    images = expected["images"].astype(np.float32) / 16
    with load_engine(STORED / "engines" / "openvino-int8", LoadOptions(batch_size=10)) as engine:
        scores = engine.infer(images)
    assert (scores.argmax(axis=1) == expected["scores"].argmax(axis=1)).all()
    assert np.abs(scores - expected["scores"]).max() < 0.05 * np.abs(expected["scores"]).max()
    assert (scores.argmax(axis=1) == expected["labels"]).mean() > 0.9


def test_it_is_measured_and_reported(workspace: Path) -> None:
    measured = harness("measure", "--workspace", str(workspace), "--precision", "int8", "--batch", "1", "--json")
    assert measured.returncode == 0, measured.stderr
    (document,) = json.loads(measured.stdout)
    assert document["latency"][0]["p99_ms"] >= document["latency"][0]["p50_ms"] > 0
    assert document["accuracy"]["clean"] is None
    assert "harness eval" in document["accuracy"]["reason"]
    assert "made in" not in "".join(line for line in measured.stderr.splitlines() if not line.startswith("measure"))

    shown = harness("report", "--workspace", str(workspace))
    assert shown.returncode == 0, shown.stderr
    assert "int8" in shown.stdout
    assert "<html" in (workspace / "report.html").read_text(encoding="utf-8")
