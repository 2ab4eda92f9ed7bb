"""A protocol that is stopped at any moment goes on with the same numbers, and repeats no more than a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from harness.attacks.registry import attack
from harness.progress import Silent
from harness.robustness.arms import ARMS
from harness.robustness.journal import BatchRecord, Journal
from harness.robustness.plan import plan
from harness.robustness.protocol import ArmOutcome, run

from . import tiny_models
from .tiny_engines import Counted, engaged

SETTINGS = {
    "pgd": {"steps": 6, "restarts": 2, "random_start": True},
    "square": {"queries": 8},
    "rays": {"queries": 12},
    "noise": {"draws": 2},
}
SPLIT = tiny_models.split_of(23)
STEPS = plan(ARMS, ["pgd"], lambda name: attack(name, SETTINGS[name]), ("float", "twin")).steps
BATCH = 6


class Noted(Journal):
    """Remembers what it kept, in this process."""

    def __init__(self, folder: Path | None, made_from: str = "here") -> None:
        super().__init__(folder, made_from)
        self.kept: dict[str, BatchRecord] = {}

    def keep(self, name: str, record: BatchRecord) -> None:
        """Keep a finished batch."""
        self.kept[name] = record
        super().keep(name, record)


def told(engine: Counted, journal: Journal) -> tuple[ArmOutcome, ...]:
    clean = tiny_models.engine(SPLIT.images).argmax(1)
    engagement = engaged(engine, SPLIT, tiny_models.sources(), epsilon=0.03, batch=BATCH, clean=clean)
    return run(engagement, STEPS, journal, Silent(), "a test")


def plain(arms: tuple[ArmOutcome, ...]) -> list[Any]:
    """Return everything that an outcome says but times, as values that compare bit by bit."""
    found: list[Any] = []
    for arm in arms:
        found += [arm.name, arm.decisions.tolist(), arm.distances.tobytes()]
        for step in arm.steps:
            numbers = [step.attacked, step.queries, step.wavering, step.turned.tolist(), step.shown.tolist()]
            found += [step.step, *numbers, step.adversarial.tobytes()]
    return found


@dataclass(frozen=True)
class Undisturbed:
    """A run without any stop."""

    arms: list[Any]
    kept: dict[str, BatchRecord]
    calls: int
    shown: int

    @property
    def most(self) -> int:
        """Images that the most expensive batch asked about."""
        return max(record.queries for record in self.kept.values())


@pytest.fixture(scope="module")
def undisturbed() -> Undisturbed:
    engine, journal = Counted(tiny_models.engine), Noted(None)
    return Undisturbed(plain(told(engine, journal)), journal.kept, engine.calls, engine.shown)


def test_there_is_enough_to_interrupt(undisturbed: Undisturbed) -> None:
    assert len(undisturbed.kept) > 15
    assert undisturbed.calls > 150
    assert len({name.split("-")[0] for name in undisturbed.kept}) == len(STEPS) == 6


@pytest.mark.parametrize("share", [0.0, 0.1, 0.23, 0.4, 0.6, 0.77, 0.9, 0.999])
def test_stopped_at_a_question_it_goes_on_bit_by_bit(tmp_path: Path, undisturbed: Undisturbed, share: float) -> None:
    stopped = Counted(tiny_models.engine, breaks_at=int(share * undisturbed.calls))
    before = Noted(tmp_path / "j")
    with pytest.raises(ConnectionError):
        told(stopped, before)
    resumed, after = Counted(tiny_models.engine), Noted(tmp_path / "j")
    assert plain(told(resumed, after)) == undisturbed.arms
    assert {*before.kept, *after.kept} == {*undisturbed.kept}
    assert not before.kept.keys() & after.kept.keys(), "no finished batch is attacked again"
    (interrupted, *_) = after.kept.values()
    assert stopped.shown + resumed.shown - undisturbed.shown <= interrupted.queries <= undisturbed.most
    again = Counted(tiny_models.engine)
    assert plain(told(again, Noted(tmp_path / "j"))) == undisturbed.arms
    assert again.shown == 0, "all is known"


def test_stopped_again_and_again_it_comes_to_its_end(tmp_path: Path, undisturbed: Undisturbed) -> None:
    shown, times = 0, 0
    while True:
        engine = Counted(tiny_models.engine, breaks_at=60)
        try:
            found = told(engine, Noted(tmp_path / "j"))
            break
        except ConnectionError:
            times += 1
        finally:
            shown += engine.shown
    assert plain(found) == undisturbed.arms
    assert times >= 3
    assert shown - undisturbed.shown <= times * undisturbed.most


def test_times_of_both_parts_count(tmp_path: Path, undisturbed: Undisturbed) -> None:
    stopped, before = Counted(tiny_models.engine, breaks_at=undisturbed.calls // 2), Noted(tmp_path / "j")
    with pytest.raises(ConnectionError):
        told(stopped, before)
    found = told(Counted(tiny_models.engine), after := Noted(tmp_path / "j"))
    seconds = sum(record.seconds for record in (*before.kept.values(), *after.kept.values()))
    assert sum(arm.seconds for arm in found) == pytest.approx(seconds)


def test_what_was_made_from_another_parent_is_forgotten(tmp_path: Path, undisturbed: Undisturbed) -> None:
    told(Counted(tiny_models.engine), Noted(tmp_path / "j", "one"))
    engine = Counted(tiny_models.engine)
    assert plain(told(engine, Noted(tmp_path / "j", "another"))) == undisturbed.arms
    assert engine.shown == undisturbed.shown, "nothing is taken over"


def test_damaged_records_are_attacked_again(tmp_path: Path, undisturbed: Undisturbed) -> None:
    told(Counted(tiny_models.engine), first := Noted(tmp_path / "j"))
    names = list(first.kept)
    spoilt = names[1::4]
    for place, name in enumerate(spoilt):
        path = tmp_path / "j" / f"{name}.npz"
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if place % 2 else b"\0" * len(content))
    engine, again = Counted(tiny_models.engine), Noted(tmp_path / "j")
    assert plain(told(engine, again)) == undisturbed.arms
    assert list(again.kept) == spoilt
    assert engine.shown == sum(first.kept[name].queries for name in spoilt)


def test_a_record_of_other_images_is_attacked_again(tmp_path: Path, undisturbed: Undisturbed) -> None:
    told(Counted(tiny_models.engine), first := Noted(tmp_path / "j"))
    name = next(iter(first.kept))
    record = first.kept[name]
    first.keep(name, replace(record, rows=record.rows + 1, decisions=np.full_like(record.decisions, -1)))
    again = Noted(tmp_path / "j")
    assert plain(told(Counted(tiny_models.engine), again)) == undisturbed.arms
    assert list(again.kept) == [name]
