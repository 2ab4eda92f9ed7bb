from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.__main__ import harness

pytestmark = pytest.mark.core

HEAVY = ["torch", "torchvision", "openvino", "onnxruntime", "onnx", "plotly", "sklearn", "scipy", "pydantic", "numpy"]

SCRIPT = f"""
import json, sys
from harness.__main__ import main
try:
    main()
except SystemExit as ended:
    print(json.dumps([ended.code, [name for name in {HEAVY!r} if sys.modules.get(name)]]))
"""


def imported(*arguments: str, cwd: Path) -> tuple[int, list[str], str]:
    """Return a command's exit code, what it imported of all that is heavy, and what it printed."""
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=True, cwd=cwd
    )
    *lines, last = found.stdout.splitlines()
    code, names = json.loads(last)
    return code, names, "\n".join(lines)


@pytest.mark.parametrize("command", [[], *([name] for name in sorted(harness.commands))])
def test_help_is_there_at_once(command: list[str], tmp_path: Path) -> None:
    code, names, out = imported(*command, "--help", cwd=tmp_path)
    assert code == 0
    assert out.startswith("Usage: ")
    assert names == []


def test_a_refusal_needs_neither_torch_nor_a_runtime(tmp_path: Path) -> None:
    code, names, _ = imported("run", "--set", "train.epoch=1", cwd=tmp_path)
    assert code == 2
    assert set(names) <= {"pydantic", "numpy"}
