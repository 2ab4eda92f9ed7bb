"""The record of GPU tests, made from a JUnit file that pytest wrote; `recorded/` has one with every ending."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.devices.environment import Environment

gpu_record = pytest.importorskip("benchmarks.gpu_record")  # not there where the core is tested as it is installed

JUNIT = Path(__file__).parent / "recorded/gpu-junit.xml"
H200 = Environment(
    "3.12.3", "Linux", {}, "AMD EPYC", 16, gpu="NVIDIA H200", driver="570.86.15", jetpack=None, board=None
)
ORIN = dataclasses.replace(
    H200, gpu="Orin (nvgpu)", jetpack="6 (L4T 36.4.0)", board="NVIDIA Jetson Orin Nano Developer Kit"
)
SERVER = dataclasses.replace(H200, gpu=None, driver=None, board="Raspberry Pi 5 Model B")


def write_record(folder: Path, place: Environment, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write the recorded run's record as if it had run at `place`."""
    monkeypatch.setattr(gpu_record, "environment", lambda: place)
    code: int = gpu_record.main([str(JUNIT), "--folder", str(folder), "--command", "make test-gpu"])
    return code


def test_every_ending_is_read() -> None:
    run = gpu_record.read_junit(JUNIT)
    assert [(case.module, case.name, case.outcome, case.reason) for case in run.cases] == [
        ("tests/engines/test_j.py", "", "did not run", "could not import 'torchx': No module named 'torchx'"),
        ("tests/engines/test_k.py", "test_a", "passed", ""),
        ("tests/engines/test_k.py", "test_b[1]", "passed", ""),
        ("tests/engines/test_k.py", "test_b[2]", "failed", "AssertionError: boo"),
        ("tests/engines/test_k.py", "test_c", "did not run", "needs TensorRT 11"),
        ("tests/engines/test_k.py", "test_d", "failed", 'failed on setup with "OSError: no file"'),
        ("tests/engines/test_k.py", "test_e", "failed as expected", "known: #4853"),
        ("tests/engines/test_k.py", "TestG::test_in_class", "passed", ""),
        ("tests/engines/test_k.py", "test_f", "did not run", "needs two GPUs"),
    ]


def test_the_page_has_versions_counts_and_what_did_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert write_record(tmp_path, H200, monkeypatch) == 0
    page = (tmp_path / "nvidia-h200.md").read_text()
    assert "# GPU tests on NVIDIA H200\n" in page
    assert "`make test-gpu` on 2026-11-22: 3 passed, 2 failed, 1 failed as expected, 3 did not run." in page
    assert "| NVIDIA driver | 570.86.15 |" in page
    assert "| tests/engines/test_k.py | 3 | 2 | 1 | 2 | 0.0 |" in page
    assert "| tests/engines/test_j.py | 0 | 0 | 0 | 1 | 0.0 |" in page
    assert "- AssertionError: boo: `tests/engines/test_k.py::test_b[2]`" in page
    _, not_run = page.split("## What did not run\n")
    assert "- could not import 'torchx': No module named 'torchx': `tests/engines/test_j.py`, the whole file" in not_run
    assert "- needs TensorRT 11: `tests/engines/test_k.py::test_c`" in not_run
    assert "/checkout" not in page  # a folder of the machine is nobody's business


def test_a_board_is_filed_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path, ORIN, monkeypatch)
    (page,) = tmp_path.iterdir()
    assert page.name == "jetson-orin-nano.md"
    assert "| JetPack | 6 (L4T 36.4.0) |" in page.read_text()


def test_without_an_nvidia_gpu_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_record(tmp_path, SERVER, monkeypatch) == 0
    assert not list(tmp_path.iterdir())
    assert "No NVIDIA GPU here" in capsys.readouterr().out


def test_a_run_that_ended_before_its_first_test_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_record, "environment", lambda: H200)
    assert gpu_record.main([str(tmp_path / "junit.xml"), "--folder", str(tmp_path)]) == 1
    assert not list(tmp_path.iterdir())
    assert "pytest left no" in capsys.readouterr().err


def test_a_run_of_no_test_says_so_and_names_what_is_not_installed() -> None:
    run = gpu_record.Run("", ())
    page = gpu_record.markdown(run, "T4", {"torch": "2.15.0", "pycuda": "not installed"}, "make test-gpu")
    assert "| torch | 2.15.0 |" in page
    assert "Not installed: pycuda." in page
    assert "No test was found." in page
