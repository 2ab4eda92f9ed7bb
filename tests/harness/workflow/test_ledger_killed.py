"""Whenever a process that makes artifacts is killed, the next one ends where an undisturbed one does."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.workflow import chain_of_tasks

pytestmark = pytest.mark.core

SEED = 20_261_122
LONGEST_S = 0.25


def start(folder: Path, source: Path) -> subprocess.Popen[str]:
    command = [sys.executable, chain_of_tasks.__file__, str(folder), str(source), "0.002"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def digests(process: subprocess.Popen[str]) -> dict[str, str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    found: dict[str, str] = json.loads(output.splitlines()[-1])
    return found


def test_killed_at_random_moments_it_ends_in_the_same_digests(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("abcdefghijkl")
    wanted = digests(start(tmp_path / "undisturbed", source))
    assert len(wanted) == 4
    draw = random.Random(SEED)
    folder = tmp_path / "killed"
    for _ in range(10):
        process = start(folder, source)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.0, LONGEST_S))
        process.kill()
        process.communicate()
        for manifest in folder.rglob("manifest.json"):  # whatever has its name is whole
            if not any(part.startswith(".") for part in manifest.relative_to(folder).parts):
                assert chain_of_tasks.FILE in json.loads(manifest.read_text())["files"]
    assert digests(start(folder, source)) == wanted, f"seed {SEED}"
    assert list(folder.rglob(".*")) == []
