from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from engines import registry
from engines.backend import Availability
from engines.cuda.driver import Gpu, NoGpu, find_gpu
from engines.openvino.backend import OpenVINO
from harness.workflow.diagnosis import asking
from harness.workflow.diagnosis.asking import ask_all
from harness.workflow.diagnosis.backend_state import BackendState, backend_state, silent_state

pytestmark = pytest.mark.core

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


def worker(program: str) -> tuple[str, ...]:
    """Return the command of a child in the worker's place; `request` is what it was asked."""
    return (sys.executable, "-c", f"import json, sys\nrequest = json.loads(sys.stdin.readline())\n{program}")


def test_every_answer_is_the_one_that_is_given_in_this_process() -> None:
    answers = ask_all()
    assert [state.name for state in answers.backends] == list(registry.NAMES)
    assert answers.backends == tuple(backend_state(name) for name in registry.NAMES)
    assert (answers.auto.backend, answers.auto.reason) == registry.choose(registry.AUTO)
    assert answers.gpu == find_gpu()


@pytest.mark.parametrize("name", registry.NAMES)
def test_a_state_survives_json(name: str) -> None:
    state = backend_state(name)
    assert BackendState.from_json(state.to_json()) == state
    assert silent_state(name, "it is silent").works() is False


def test_a_crash_ends_neither_the_doctor_nor_what_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WORKER", worker(CRASH))
    answers = ask_all()
    states = {state.name: state for state in answers.backends}
    assert states["openvino"].works() and states["onnxruntime"].works()
    for name in ("tensorrt", "tensorrt-rtx"):
        assert not states[name].works()
        assert states[name].builds.reason == "its package crashes when it is imported (SIGSEGV)"
        assert "pip install --force-reinstall tensorrt" in states[name].builds.remedy
        assert states[name].precisions == dict.fromkeys(registry.backend(name).precisions, states[name].builds)
    assert answers.auto.backend is None
    assert "crashes then (SIGSEGV): name a backend" in answers.auto.reason
    assert isinstance(answers.gpu, NoGpu)
    assert answers.gpu.reason == "the NVIDIA driver crashes when it is initialised (SIGSEGV)"


def test_a_crash_after_the_import_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = """print('{"event": "progress", "fraction": 0.5}', flush=True)"""
    monkeypatch.setattr(asking, "WORKER", worker(f"{progress}\n{CRASH}"))
    (state,) = ask_all(("tensorrt",)).backends
    assert state.builds.reason == "its package crashes when it is asked whether it runs here (SIGSEGV)"


def test_a_child_that_hangs_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WORKER", worker("import time; time.sleep(600)"))
    monkeypatch.setattr(asking, "DEADLINE_S", 0.5)
    (state,) = ask_all(("tensorrt",)).backends
    assert "does not answer when it is imported (gave no answer within" in state.builds.reason


def test_a_gpu_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    orin = Gpu("Orin", (8, 7), 8, 1, "12.6")
    gpu = {**asdict(orin), "compute_capability": [8, 7]}
    told = f"print(json.dumps({{'event': 'result', 'result': {gpu!r}}}))"
    monkeypatch.setattr(asking, "WORKER", worker(f"{told} if request['question'] == 'gpu' else sys.exit(1)"))
    assert ask_all(()).gpu == orin


def test_a_package_that_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: object) -> Availability:
        raise OSError("libtbb.so.12: cannot open shared object file\nand more")

    monkeypatch.setattr(OpenVINO, "availability", raising)
    state = backend_state("openvino")
    assert state.builds.reason == (
        "its package fails when it is asked (OSError: libtbb.so.12: cannot open shared object file)"
    )
    assert state.builds.remedy == "install it again with: pip install --force-reinstall openvino"
    assert state.precisions["int8"] == state.runs == state.builds


def test_a_package_that_is_broken_for_one_precision_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_bf16(_: object, precision: str | None = None) -> Availability:
        if precision == "bf16":
            raise RuntimeError("no such property")
        return Availability(True)

    monkeypatch.setattr(OpenVINO, "availability", without_bf16)
    state = backend_state("openvino")
    assert state.works("int8") and state.works() and not state.works("bf16")


def test_a_package_in_the_users_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in {"", str(Path.cwd())}])
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    monkeypatch.chdir(tmp_path)
    (state,) = ask_all(("tensorrt",)).backends
    assert "crashes" not in state.builds.reason
