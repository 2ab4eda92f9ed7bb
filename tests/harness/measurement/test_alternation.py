from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.backend import EngineManifest
from harness.measurement import verdict
from harness.measurement.alternation import alternate
from harness.measurement.client import Request
from harness.measurement.process import MeasuringProcess, PhaseFailedError, Window
from harness.progress import Silent

pytestmark = pytest.mark.core

HERE = Path(__file__).parent
MANIFEST = EngineManifest("onnxruntime", "1", "fp32", (1, 4, 4), 2, weights_bytes=10, engine_bytes=20, options={})


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setattr(verdict, "MINIMUM_PAIRS", 4)
    engine = tmp_path / "fake-fp32"
    engine.mkdir()
    (engine / "manifest.json").write_text(json.dumps({"engine": MANIFEST.to_json()}))
    return Request(engine, (1,), "quick", 1, loader="measured_fakes:summing")


def test_a_slower_engine_is_found_and_both_are_one_pair_for_pair(tmp_path: Path, request_: Request) -> None:
    slower = replace(request_, loader="measured_fakes:dawdling")
    found = alternate(slower, request_, 1, 6, tmp_path, Silent(), window_s=0.05)
    assert found.ours_ms.shape == found.theirs_ms.shape == found.counted.shape == (6,)
    assert (found.ours_ms > found.theirs_ms).all()
    assert found.verdict.pairs == found.counted.sum()
    if found.verdict.pairs >= 4:  # a busy machine may leave too few
        assert found.verdict.word == "slower" and found.verdict.ratio is not None and found.verdict.ratio > 1.5
    assert [path for path in tmp_path.iterdir() if path.name.startswith("in-turn-")] == []


def test_an_engine_that_refuses_ends_it_with_a_sentence(tmp_path: Path, request_: Request) -> None:
    with pytest.raises(PhaseFailedError, match="loading the engine, failed: RuntimeError: no such kernel"):
        alternate(request_, replace(request_, loader="measured_fakes:faulty"), 1, 4, tmp_path, Silent(), 0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel tells of processes in /proc on Linux only")
def test_while_one_runs_the_other_is_stopped(
    tmp_path: Path, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[MeasuringProcess] = []
    states: list[str] = []
    window, begin = MeasuringProcess.window, MeasuringProcess.__init__

    def noted(self: MeasuringProcess, *arguments: Any) -> None:
        begin(self, *arguments)
        alive.append(self)

    def watched(self: MeasuringProcess, seconds: float, queries: int = 1) -> Window:
        (other,) = (each for each in alive if each is not self)
        states.append(Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[0])
        return window(self, seconds, queries)

    monkeypatch.setattr(MeasuringProcess, "__init__", noted)
    monkeypatch.setattr(MeasuringProcess, "window", watched)
    alternate(request_, request_, 1, 4, tmp_path, Silent(), window_s=0.05)
    assert set(states) == {"T"} and len(states) == 16  # two engines, four pairs, each window after a waking one
