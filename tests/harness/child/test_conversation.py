from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from contracts.errors import InputError, MissingDependencyError
from harness.child.conversation import Answered, Conversation, Failed, ask_child

pytestmark = pytest.mark.core


def _ask(tmp_path: Path, program: str, deadline_s: float = 60.0) -> tuple[Answered | Failed, list[float]]:
    seen: list[float] = []
    command = [sys.executable, "-S", "-c", program]
    answer = ask_child(command, {"x": 1}, deadline_s=deadline_s, log=tmp_path / "log", on_progress=seen.append)
    return answer, seen


def test_progress_and_result_arrive(tmp_path: Path) -> None:
    program = """
import json, sys
x = json.loads(sys.stdin.readline())["x"]
print(json.dumps({"event": "progress", "fraction": 0.5}))
print(json.dumps({"event": "result", "result": x + 1}))
"""
    assert _ask(tmp_path, program) == (Answered(2), [0.5])


def test_a_child_that_never_reads_its_request_is_heard_all_the_same(tmp_path: Path) -> None:
    program = """import os; os.close(0); print('{"event": "failed", "reason": "no"}')"""
    assert _ask(tmp_path, program) == (Failed("failed: no"), [])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel tells of processes in /proc on Linux only")
def test_a_child_that_is_held_stands_still_and_goes_on(tmp_path: Path) -> None:
    program = """
import json, sys
for line in iter(sys.stdin.readline, ""):
    print(json.dumps({"event": "result", "result": json.loads(line)["x"]}), flush=True)
"""
    with Conversation([sys.executable, "-S", "-c", program], tmp_path / "log") as child:
        for x in range(20):
            assert child.ask({"x": x}, deadline_s=60.0) == Answered(x)
            child.hold()
            stat = Path(f"/proc/{child.pid}/stat").read_text()
            assert stat.rpartition(")")[2].split()[0] == "T"
            child.go_on()
        child.hold()
        assert child.ask({"x": 0}, deadline_s=0.2) == Failed("gave no answer within 0 s and was stopped")
        assert child.ask({"x": 0}, deadline_s=60.0) == Failed("gave no answer within 0 s and was stopped")
        child.hold()  # it is gone: nothing to hold


def test_a_users_error_keeps_its_kind(tmp_path: Path) -> None:
    for code, kind in ((2, InputError), (4, MissingDependencyError), (70, None), (None, None)):
        event = {"event": "failed", "reason": "no", "exit_code": code}
        answer, _ = _ask(tmp_path, f"import json; print(json.dumps({event!r}))")
        assert isinstance(answer, Failed) and answer.exit_code == code
        error = answer.error("in a sentence")
        assert error is None if kind is None else type(error) is kind and str(error) == "in a sentence"


@pytest.mark.parametrize(
    ("program", "reason", "deadline_s"),
    [
        ("print('hello')", "no answer: 'hello'", 60.0),
        ("print('[1]')", r"no answer: '\[1\]'", 60.0),
        ('print(\'{"event": "dance"}\')', "no answer", 60.0),
        ("import sys; sys.stdout.write('x' * (1 << 27))", "endless line", 60.0),
        ("pass", "exit code 0 and no answer", 60.0),
        ("raise SystemExit('out of luck')", "exit code 1 and no answer, its last words: out of luck", 60.0),
        ("import os; os.abort()", "crashed with SIGABRT", 60.0),
        ("import os; os.kill(os.getpid(), 9)", "was killed with SIGKILL", 60.0),
        ("import os, time; os.close(1); time.sleep(600)", "closed its output without an answer", 1.0),
        ("import time; time.sleep(600)", "gave no answer within 1 s and was stopped", 1.0),
        ('while True: print(\'{"event": "progress", "fraction": 0.1}\', flush=True)', "gave no answer within 1 s", 1.0),
    ],
)
def test_a_child_that_does_not_answer_gives_a_sentence(
    tmp_path: Path, program: str, reason: str, deadline_s: float
) -> None:
    answer, _ = _ask(tmp_path, program, deadline_s=deadline_s)
    assert isinstance(answer, Failed)
    assert re.search(reason, answer.reason), answer.reason
