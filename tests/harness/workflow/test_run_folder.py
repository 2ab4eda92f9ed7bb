from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.errors import InputError
from harness.workflow.run_folder import LOG, locked, log

pytestmark = pytest.mark.core


def test_a_log_line_begins_with_the_time_in_utc(tmp_path: Path) -> None:
    log(tmp_path, "train: checkpoints/base made in 1.0 s")
    log(tmp_path, "Zeichen: 漢")
    lines = (tmp_path / LOG).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 \S", line)


def test_a_second_holder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(InputError, match=r"another harness is at work in .*--workspace"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):  # and let in once the first has left
        pass


def test_a_second_process_is_refused_with_exit_code_2(tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    with locked(folder):
        command = [sys.executable, "-m", "harness", "train", "--workspace", str(folder)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert second.returncode == 2
    assert second.stderr == (
        f"error: another harness is at work in {folder}: wait for it or choose another --workspace\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == [".lock"]


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written .*--workspace"), locked(tmp_path / "file" / "below"):
        pass


def test_what_a_forked_process_holds_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """It has its parent's open files until it becomes another program, or ends."""
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(0.3)
            os._exit(0)
    with locked(tmp_path):
        pass
    os.waitpid(child, 0)
