"""Every ending of a command: its exit code and its sentence."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from contracts.errors import HarnessError, InputError, MissingDependencyError
from harness.devices.watch import Watched
from harness.measurement.energy import Energy
from harness.measurement.measurement import DeviceState, Measurement, WindowDevice, summarise
from harness.measurement.memory import Memory
from harness.workflow.stages import measure, train

from .conftest import Invoke
from .processes import run, without

pytestmark = pytest.mark.core

STORED = Path(__file__).parents[2] / "core" / "stored"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """Return a run folder with a built engine and nothing that it was made from."""
    return Path(shutil.copytree(STORED, tmp_path / "digits", ignore=shutil.ignore_patterns("expected.npz")))


def raising(error: Exception) -> Callable[..., NoReturn]:
    def make(*_: object) -> NoReturn:
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("the file mine.npz is wrong: mend it"), 2),
        (MissingDependencyError("a driver is missing: install it with: apt-get install driver"), 4),
    ],
)
def test_a_problem_of_the_users_is_its_sentence_and_its_code(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: HarnessError, code: int
) -> None:
    monkeypatch.setattr(train, "_make", raising(error))
    ended = invoke("train", "--workspace", str(tmp_path / "w"))
    assert (ended.code, ended.out, ended.err) == (code, "", f"error: {error}\n")
    assert (tmp_path / "w/log.txt").read_text().splitlines()[-1].endswith(f" error: {error}")


def test_a_bug_is_a_sentence_here_and_a_traceback_in_the_log(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(train, "_make", raising(RuntimeError("index out of range")))
    ended = invoke("train", "--workspace", str(tmp_path / "w"))
    log = tmp_path / "w" / "log.txt"
    assert (ended.code, ended.out) == (70, "")
    assert ended.err == (
        f"error: this is a bug of the harness (RuntimeError): please report it with the traceback in {log}\n"
    )
    assert "Traceback" in log.read_text()
    assert "RuntimeError: index out of range" in log.read_text()
    assert list((tmp_path / "w" / "checkpoints").iterdir()) == []


def test_a_bug_before_there_is_a_run_folder_leaves_a_log_too(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("reports.store.read_results", raising(RuntimeError("index out of range")))
    ended = invoke("report", "--workspace", str(tmp_path / "w"))
    (log,) = tmp_path.glob("harness-*.log")
    assert ended.code == 70
    assert ended.err == (
        f"error: this is a bug of the harness (RuntimeError): please report it with the traceback in {log}\n"
    )
    assert "RuntimeError: index out of range" in log.read_text()


@pytest.mark.parametrize("at", ["harness.workflow.stages.train._make", "harness.workflow.settings.resolve"])
def test_a_full_disk_is_no_bug(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: str) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(at, raising(OSError(errno.ENOSPC, "No space left on device", "/media/card/weights")))
    ended = invoke("train", "--workspace", str(tmp_path / "w"))
    assert ended.code == 2
    assert ended.err == (
        "error: /media/card/weights cannot be read or written (No space left on device): make room or choose another "
        "place\n"
    )


def test_an_import_of_ours_that_fails_is_a_bug(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(train, "_make", raising(ModuleNotFoundError("no harness.nonsense", name="harness.nonsense")))
    assert invoke("train", "--workspace", str(tmp_path / "w")).code == 70


@pytest.mark.parametrize("stage", ["train", "prune", "eval"])
def test_training_without_torch_names_the_command_that_installs_it(stage: str, tmp_path: Path) -> None:
    env = without(["torch", "torchvision"], tmp_path / "blocked")
    ended = run(stage, "--set", "prune.method=l1", cwd=tmp_path, env=env)
    assert ended.code == 4
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "is not installed" in last
    assert "pip install 'edge-robustness-harness[train]'" in last
    assert "Traceback" not in ended.err


def measurement(*, window: tuple[str, ...] = (), device: tuple[str, ...] = ()) -> Measurement:
    """Return a measurement with these doubts."""
    times = np.linspace(1.0, 2.0, 2000)
    return Measurement(
        latencies=(summarise(1, 1, times, times.sum() / 1000, (*device, *window)),),
        failures=(),
        times_ms={1: times},
        memory=Memory(10, 10, None, 10, 10, ("a CPU",)),
        energy=Energy(),
        device=DeviceState((WindowDevice(1, Watched({}, {}, {}, (), None, 0.0, beside=False), device),)),
    )


class Meter:
    """Stands in for the measuring process; counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = measurement()
        self.asked = 0
        monkeypatch.setattr(measure, "measure_engine", self)

    def __call__(self, *_: Any, **__: Any) -> Measurement:
        self.asked += 1
        return self.answer


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter(monkeypatch)


def measured(board: Path, *flags: str) -> tuple[str, ...]:
    return ("measure", "--workspace", str(board), "--precision", "int8", "--batch", "1", "--json", *flags)


@pytest.mark.parametrize(
    "doubtful",
    [measurement(device=("the fan fell off: mount it",)), measurement(window=("the fan fell off: mount it",))],
)
def test_an_invalid_measurement_is_3_where_valid_ones_are_required(
    invoke: Invoke, meter: Meter, board: Path, doubtful: Measurement
) -> None:
    meter.answer = doubtful
    refused = invoke(*measured(board, "--require-valid"))
    assert refused.code == 3
    assert refused.err.splitlines()[-1] == "error: the measurement is not valid: the fan fell off: mount it"
    assert len(list(board.glob("results/*/*/result.json"))) == 1  # it is kept, and says that it is not valid

    told = invoke(*measured(board))
    assert told.code == 0
    assert meter.asked == 1
    (document,) = json.loads(told.out)
    assert not document["latency"][0]["valid"]

    invoke(*measured(board, "--require-valid"))
    assert meter.asked == 2, "what is not valid is measured again where valid ones are required"
    meter.answer = measurement()
    assert invoke(*measured(board, "--require-valid")).code == 0
    assert meter.asked == 3
    assert invoke(*measured(board, "--require-valid")).code == 0
    assert meter.asked == 3


def test_a_measurement_again_is_a_result_more(invoke: Invoke, meter: Meter, board: Path) -> None:
    (first,) = json.loads(invoke(*measured(board)).out)
    (same,) = json.loads(invoke(*measured(board)).out)
    (second,) = json.loads(invoke(*measured(board, "--again")).out)
    assert meter.asked == 2
    assert same == first
    assert second["id"] != first["id"]
    found = {path.parent.name for path in board.glob("results/*/*/result.json")}
    assert found == {first["id"], second["id"]}


def test_half_of_a_result_is_no_result(
    invoke: Invoke, meter: Meter, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.workflow.stages import assemble

    seen: list[Path] = []

    def watched(path: Path, text: str) -> None:
        seen.extend(board.glob("results/*/*"))
        raise RuntimeError("killed here")

    monkeypatch.setattr(assemble, "write_text", watched)
    assert invoke(*measured(board)).code == 70
    assert seen == []
    assert not (board / "results").exists()
    assert list(board.glob(".*.staging")) == []


def test_nothing_is_said_twice_and_quiet_is_quiet(invoke: Invoke, meter: Meter, board: Path) -> None:
    ended = invoke(*measured(board, "-q"))
    assert ended.err == ""
    assert invoke(*measured(board, "-v")).err.count("up to date") == 2


@pytest.mark.parametrize("number", [-3, 2**70])
def test_a_number_that_cannot_be_is_refused(invoke: Invoke, board: Path, number: int) -> None:
    before = (board / "experiment.toml").read_text()
    assert invoke("measure", "--workspace", str(board), "--set", f"seed={number}").code == 2
    assert (board / "experiment.toml").read_text() == before
    assert not (board / "log.txt").exists()
