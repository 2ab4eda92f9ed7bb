from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import InputError
from engines.backend import EngineManifest
from harness.measurement.job import Job, WorkerResult
from harness.measurement.window import WarmUp

pytestmark = pytest.mark.core

MANIFEST = EngineManifest("onnxruntime", "1", "fp32", (1, 4, 4), 2, weights_bytes=10, engine_bytes=20, options={})
HEAVY = {"torch", "pydantic", "click", "rich", "openvino", "onnxruntime", "onnx", "scipy", "plotly", "psutil"}


def _job(tmp_path: Path) -> Job:
    loader = "measured_fakes:summing"
    return Job(tmp_path, 2, 1, 0.2, seed=3, cuda_graph=False, loader=loader, times=tmp_path / "times.npy")


def test_the_worker_answers_on_standard_output_and_writes_the_times(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"engine": MANIFEST.to_json()}))
    answered = subprocess.run(
        [sys.executable, "-m", "harness.measurement.worker"],
        input=json.dumps({**_job(tmp_path).to_json(), "parent": os.getpid()}) + "\n",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        timeout=60,
        check=True,
    )
    *_, last = map(json.loads, answered.stdout.splitlines())
    result = WorkerResult.from_json(last["result"])
    assert not result.torch_imported
    assert result.warm_up.queries > 0
    times = np.load(tmp_path / "times.npy", allow_pickle=False)
    assert times.dtype == np.int64 and times.sum() >= 0.15e9


def test_the_worker_imports_nothing_heavy() -> None:
    program = "import sys, harness.measurement.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "numpy" in shown.stdout.split()
    assert HEAVY.isdisjoint(shown.stdout.split())


@pytest.mark.parametrize("line", ["", "{}", "nonsense", '{"engine": "x"}'])
def test_a_job_that_is_none_is_answered_with_a_reason(line: str) -> None:
    answered = subprocess.run(
        [sys.executable, "-m", "harness.measurement.worker"],
        input=line,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer = json.loads(answered.stdout)
    assert answer["event"] == "failed" and answer["reason"]


def test_jobs_and_results_survive_the_boundary(tmp_path: Path) -> None:
    job = _job(tmp_path)
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    result = WorkerResult(WarmUp(7, settled=True), 1, 2, None, torch_imported=False, spans={"h2d_ms": 0.1})
    assert WorkerResult.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.mark.parametrize("value", [None, 3, {}, {"warm_up": 1}])
def test_a_foreign_result_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="WorkerResult has the keys"):
        WorkerResult.from_json(value)  # type: ignore[arg-type]
