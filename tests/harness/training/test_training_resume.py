from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.progress import Advance
from harness.training.recipe import Recipe
from harness.training.trained import Trained
from tests.harness.training.dying import Dying, KilledError, killed
from tests.harness.training.small_tasks import halves, network, recipe, trained

EPOCHS = 4
SETTINGS = recipe(
    "n-fgsm", epochs=EPOCHS, ema_decay=0.9, validation_samples=9, flip=True, crop=1, learning_rate=0.05, epsilon=0.2
)
UNITS = 6 + 1  # an epoch's batches, and one of validation


@cache
def calibrated() -> Twin:
    twin = Twin(traced(network(), (1, 6, 6)))
    twin.calibrate("minmax", iter([torch.from_numpy(halves().images)]))
    return twin


def twin() -> Twin:
    return deepcopy(calibrated()).follow(0.1)


def learn(model: nn.Module, settings: Recipe = SETTINGS, **given: Any) -> Trained:
    settle = model.fit_weights if isinstance(model, Twin) else lambda: None
    return trained(model, settings, settle=settle, made_from="x", **given)


def bits(model: nn.Module) -> Tensor:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def without_seconds(outcome: Trained) -> Trained:
    return replace(outcome, epochs=tuple(replace(epoch, seconds=0.0) for epoch in outcome.epochs))


@pytest.mark.parametrize("make", [network, twin])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_killed_in_any_epoch_it_ends_with_the_same_bits(
    make: Callable[[], nn.Module], keep: Any, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, keep=keep)
    whole = make()
    expected = learn(whole, settings)
    for epoch in range(EPOCHS):
        for within in (0, UNITS - 1):  # in the first batch, and in validation
            folder = tmp_path / f"{epoch}-{within}"
            with pytest.raises(KilledError):
                learn(make(), settings, unfinished=folder, progress=Dying(epoch * UNITS + within, killed))
            again = make()
            found = learn(again, settings, unfinished=folder)
            assert torch.equal(bits(again), bits(whole))
            assert without_seconds(found) == without_seconds(expected)


def test_killed_in_every_epoch_and_after_the_last_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, again = twin(), twin()
    learn(whole)
    for _ in range(EPOCHS - 1):  # each start gets through one epoch
        with pytest.raises(KilledError):
            learn(twin(), unfinished=tmp_path, progress=Once(killed))
    learn(twin(), unfinished=tmp_path)
    outcome = learn(again, unfinished=tmp_path)  # nothing is left to do
    assert torch.equal(bits(again), bits(whole))
    assert len(outcome.epochs) == EPOCHS


class Once(Dying):
    """Progress that ends the run in the second epoch that it sees."""

    def __init__(self, die: Callable[[], None]) -> None:
        super().__init__(0, die)
        self._left = UNITS + 2

    def _advance(self, amount: float) -> None:
        if amount == 1:  # not the epochs that were finished before
            super()._advance(1)


def test_a_collapse_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def always(robust: float, best: float, single_step: float, samples: int) -> bool:
        return True

    monkeypatch.setattr("harness.training.collapse.has_collapsed", always)
    whole, again = network(), network()
    expected = learn(whole)
    with pytest.raises(KilledError):  # in the first epoch, done again
        learn(network(), unfinished=tmp_path, progress=Once(killed))
    found = learn(again, unfinished=tmp_path)
    assert torch.equal(bits(again), bits(whole))
    assert without_seconds(found) == without_seconds(expected)
    assert len(found.warnings) == 1


CHILD = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[2]))
from tests.harness.training import test_training_resume as here
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
here.learn(here.network(), unfinished=Path(sys.argv[1]), progress=here.Dying(2 * here.UNITS + 3, die))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_process_that_is_killed_leaves_what_another_goes_on_from(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(torch.get_num_threads())],
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    whole, again = network(), network()
    learn(whole)
    seen = Dying(10**6, killed)
    learn(again, unfinished=tmp_path, progress=seen)
    assert torch.equal(bits(again), bits(whole))
    assert 10**6 - seen._left == EPOCHS * UNITS


@pytest.mark.parametrize("harm", ["another run's", "another seed's", "cut short", "a bit turned", "no archive"])
def test_a_state_that_is_damaged_or_not_its_own_is_ignored(harm: str, tmp_path: Path) -> None:
    before, whole, again = network(), network(), network()
    trained(
        before,
        SETTINGS,
        seed=1 if harm == "another seed's" else 0,
        unfinished=tmp_path,
        made_from="y" if harm == "another run's" else "x",
    )
    (path,) = tmp_path.iterdir()
    held = bytearray(path.read_bytes())
    if harm == "cut short":
        path.write_bytes(held[: len(held) // 2])
    elif harm == "a bit turned":
        place = held.index(before.state_dict()["4.weight"].numpy().tobytes())
        held[place] ^= 1
        path.write_bytes(held)
    elif harm == "no archive":
        path.write_bytes(b"weights")
    learn(whole)
    started: list[float] = []

    class Seen:
        @contextmanager
        def bar(self, description: str, total: float) -> Iterator[Advance]:
            yield started.append

    learn(again, unfinished=tmp_path, progress=Seen())
    assert started[0] == 0  # no epoch was taken as finished
    assert torch.equal(bits(again), bits(whole))
