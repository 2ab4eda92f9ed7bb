"""The command `harness`, as a process of its own and inside this one."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TINY_SETTINGS = (
    "train.epochs=4",
    "finetune.epochs=2",
    "eval.samples=60",
    "measure.batch=1",
    "build.precision=int8",
)
TINY = tuple(word for setting in TINY_SETTINGS for word in ("--set", setting))
"""The shortest journey whose numbers say something: a model that is right more often than not."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def command(*arguments: str) -> list[str]:
    """Return the command line of a process."""
    return [sys.executable, "-m", "harness", *arguments]


def run(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a process to its end."""
    found = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**os.environ, **ONE_THREAD, **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ended(found.returncode, found.stdout, found.stderr)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start a process in a group of its own, as a shell does."""
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def hear_interrupts() -> None:
    """Let a child hear Ctrl-C even where the tests run in the background of a script, whose children ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def appears(path: Path, process: subprocess.Popen[str], within_s: float = 120.0) -> None:
    """Wait until a file appears while a process lives."""
    deadline = time.monotonic() + within_s
    while not path.exists():
        assert process.poll() is None, "the process ended before"
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Who asks sys.modules, as SciPy does, must not find the name there either, so None in that place will not do.
_NOT_FOUND = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in PACKAGES else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


def without(packages: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the environment of a process, and of its children, in which these packages are not installed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_NOT_FOUND.replace("PACKAGES", repr(list(packages))))
    return {"PYTHONPATH": str(folder)}


def tree(folder: Path) -> list[str]:
    """Return every path below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def digests(workspace: Path) -> dict[str, str]:
    """Return every artifact's digest but those of what holds times."""
    manifests = [path for path in workspace.rglob("manifest.json") if "measurement-" not in str(path)]
    return {str(path.parent.relative_to(workspace)): json.loads(path.read_text())["sha256"] for path in manifests}


VOLATILE = ("created", "id", "command", "latency", "latency_reason", "memory", "energy", "device")


def lasting(document: Document) -> Document:
    """Return a document without what no two runs share."""
    kept = {key: value for key, value in copy.deepcopy(document).items() if key not in VOLATILE}
    for entry in kept["robustness"]:
        for timed in (*entry["arms"].values(), *entry["steps"]):
            del timed["seconds"]
    return kept
