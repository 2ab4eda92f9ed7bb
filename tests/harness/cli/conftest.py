from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .processes import TINY, Document, Ended, run

Invoke = Callable[..., Ended]


@dataclass(frozen=True)
class Finished:
    """A journey that was taken once for all tests of a session; nobody writes into it."""

    cwd: Path
    workspace: Path
    documents: list[Document]
    ended: Ended


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return a finished `harness run` on digits, in a folder with a space in its name."""
    cwd = tmp_path_factory.mktemp("a run")
    ended = run("run", "--json", *TINY, cwd=cwd)
    assert ended.code == 0, ended.err
    return Finished(cwd, cwd / "runs" / "digits", json.loads(ended.out), ended)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch take one thread, as in `run`: on busy cores threads wait for each other, and sums depend on them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def workspace(finished: Finished, tmp_path: Path) -> Path:
    """Return a copy of the finished run folder."""
    return Path(shutil.copytree(finished.workspace, tmp_path / "a copy" / "digits"))


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Invoke:
    """Return a function that runs the command inside this process, which spares the import of torch."""

    def invoked(*arguments: str) -> Ended:
        from harness.__main__ import main

        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return invoked
