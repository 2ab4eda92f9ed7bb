"""Ctrl-C and SIGKILL: the process ends at once, leaves nothing behind, and the next one goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from .conftest import Finished
from .processes import TINY, appears, digests, lasting, run, start

pytestmark = pytest.mark.slow

STORED = Path(__file__).parents[2] / "core" / "stored"
SEED = 7
LIMIT_S = 2.0
"""What a person waits for after Ctrl-C."""

COUNTING = """
from pathlib import Path
from torch import nn

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.steps = 0

    def forward(self, images):
        self.steps += self.training
        if self.steps == 20:
            Path("training").touch()
        return self.layers(images)

def make():
    return Counting()
"""


def interrupt(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C, wait for the end and return what was said; assert the exit code and the time it took."""
    sent = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    took_s = time.monotonic() - sent
    assert process.returncode == 130
    assert took_s < LIMIT_S
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "interrupted: run the same command again to go on where it stopped"
    return errors


def half_made(workspace: Path) -> list[Path]:
    return [path for path in workspace.rglob(".*") if path.name != ".lock"]


def test_interrupted_while_it_trains(tmp_path: Path) -> None:
    (tmp_path / "counting_for_tests.py").write_text(COUNTING)
    (tmp_path / "mine.toml").write_text(
        "[model]\nfactory = 'counting_for_tests:make'\n[train]\nepochs = 100000\nlearning_rate = 0.01\n"
    )
    process = start("train", "mine.toml", cwd=tmp_path)
    appears(tmp_path / "training", process)
    interrupt(process)
    workspace = tmp_path / "runs" / "mine"
    assert half_made(workspace) == []
    assert not (workspace / "checkpoints" / "base").exists()
    assert (workspace / "log.txt").read_text().endswith(" interrupted\n")

    ended = run("train", "mine.toml", "--set", "train.epochs=1", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert (workspace / "checkpoints" / "base" / "manifest.json").exists()


def test_interrupted_while_it_measures(tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(STORED, tmp_path / "digits"))
    arguments = ("measure", "--workspace", str(workspace), "--precision", "int8", "--batch", "1")
    process = start(*arguments, "--profile", "ci", cwd=tmp_path)
    worker = _worker(process)
    time.sleep(random.Random(SEED).uniform(1.0, 3.0))
    assert process.poll() is None
    interrupt(process)
    assert not worker.is_running()
    assert half_made(workspace) == []
    assert not (workspace / "results").exists()

    ended = run(*arguments, "--profile", "quick", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    assert document["latency"][0]["n"] > 0


def _worker(process: subprocess.Popen[str]) -> psutil.Process:
    """Wait for the measuring process."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        for child in psutil.Process(process.pid).children():
            if "harness.measurement.worker" in child.cmdline():
                return child
        time.sleep(0.05)
    raise AssertionError("no measuring process appeared")


def test_a_killed_harness_takes_its_measuring_process_with_it(tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(STORED, tmp_path / "digits"))
    process = start("measure", "--workspace", str(workspace), "--precision", "int8", "--profile", "ci", cwd=tmp_path)
    worker = _worker(process)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    worker.wait(timeout=5)


def test_killed_at_random_moments_a_run_ends_in_the_same_document(finished: Finished, tmp_path: Path) -> None:
    draw = random.Random(SEED)
    print(f"seed {SEED}")  # noqa: T201  shown where it fails
    for _ in range(3):
        process = start("run", *TINY, cwd=tmp_path)
        try:
            process.wait(timeout=draw.uniform(0.3, 9.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        for path in tmp_path.glob("runs/digits/results/*/*"):
            assert (path / "result.json").exists()
    ended = run("run", "--json", *TINY, cwd=tmp_path)
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    (wanted,) = finished.documents
    assert lasting(document) == lasting(wanted)
    assert digests(tmp_path / "runs" / "digits") == digests(finished.workspace)
    assert half_made(tmp_path / "runs") == []
