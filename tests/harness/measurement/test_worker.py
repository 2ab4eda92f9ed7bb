from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from engines.backend import EngineManifest
from harness.measurement.job import Job, Process, whole
from harness.measurement.process import MeasuringProcess

pytestmark = pytest.mark.core

MANIFEST = EngineManifest("onnxruntime", "1", "fp32", (1, 4, 4), 2, weights_bytes=10, engine_bytes=20, options={})
HEAVY = {"torch", "pydantic", "click", "rich", "openvino", "onnxruntime", "onnx", "scipy", "plotly", "psutil"}


def _job(tmp_path: Path) -> Job:
    return Job(tmp_path, 2, 1, (), seed=3, cuda_graph=False, loader="measured_fakes:summing")


def test_the_worker_goes_from_phase_to_phase_and_writes_the_times(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"engine": MANIFEST.to_json()}))
    window = {"seconds": 0.2, "queries": 120, "times": str(tmp_path / "times")}
    of = {"runtime": _job(tmp_path).to_json(), "window": window}
    phases = ["runtime", "load", "warm_up", "window", "spans", "leave"]
    requests: list[dict[str, Any]] = [{"phase": phase, "of": of.get(phase)} for phase in phases]
    requests[0]["parent"] = os.getpid()
    answered = subprocess.run(
        [sys.executable, "-m", "harness.measurement.worker"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        timeout=60,
        check=True,
    )
    found = dict(zip(phases, (json.loads(line)["result"] for line in answered.stdout.splitlines()), strict=True))
    assert not found["window"]["process"]["torch_imported"]
    assert found["runtime"]["resident_bytes"] <= found["window"]["process"]["peak_bytes"]
    assert found["warm_up"]["queries"] > 0
    assert found["spans"] is None
    span = found["window"]["span"]
    times = np.fromfile(tmp_path / "times", np.int64)
    assert len(times) == span["queries"] >= 120
    assert 0.2e9 <= times.sum() <= span["closed_ns"] - span["opened_ns"]
    assert (tmp_path / "put-away").exists()


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


def test_jobs_survive_the_boundary(tmp_path: Path) -> None:
    job = replace(_job(tmp_path), cores=(0, 3))
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job


@pytest.mark.parametrize("value", [None, 3, {}, {"resident_bytes": 1}])
def test_a_foreign_object_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="a Process has the keys"):
        whole(value, Process)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system holds no process to cores")
def test_the_process_is_held_to_the_cores_that_were_asked_for(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"engine": MANIFEST.to_json()}))
    core = max(os.sched_getaffinity(0))
    with MeasuringProcess(replace(_job(tmp_path), cores=(core,)), tmp_path) as process:
        process.import_runtime()
        assert os.sched_getaffinity(process.pid) == {core}
