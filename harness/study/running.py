"""Running a study: every cell that is not finished, one after the other, whatever becomes of each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import HarnessError
from contracts.files import sha256_file, sha256_json
from harness.study import outcome
from harness.study.cell import Cell
from harness.study.features import keep_features
from harness.study.folder import StudyFolder
from harness.study.plan import Plan, Values, base_values, cell_values, strong_values
from harness.workflow.context import Context
from harness.workflow.journey import Journey
from harness.workflow.run_folder import LOG, locked, log
from harness.workflow.saved_models import WEIGHTS, load_twin
from harness.workflow.settings import Resolved, check, record

if TYPE_CHECKING:
    from harness.progress import Progress

FINISHED, FAILED = "finished", "failed"

Say = Callable[[str], None]


@dataclass
class Study:
    """A study and where it lies.

    Attributes:
        plan: what is asked for.
        folder: where it lies.
        data_dir: where data sets lie, or None.
        progress: where long work reports.
        say: told a line for every cell.
        command: the command line that reproduces it.
    """

    plan: Plan
    folder: StudyFolder
    data_dir: Path | None
    progress: Progress
    say: Say
    command: str
    _bases: dict[tuple[str, int], Path] = field(default_factory=dict)

    def run(self, cells: list[Cell], after: Callable[[], None]) -> int:
        """Make every cell that is not finished; return how many failed.

        Args:
            cells: in this order.
            after: called after every cell that was made.
        """
        failed = 0
        for number, cell in enumerate(cells, start=1):
            card = self._made(cell, f"{number} of {len(cells)}")
            if card is not None:
                self.folder.keep(cell, card)
                failed += card["state"] == FAILED
                after()
        return failed

    def _made(self, cell: Cell, place: str) -> Mapping[str, Any] | None:
        """Return a cell's card; None where it was finished before."""
        made_from: str | None = None
        try:
            weights = self._base(cell.base, cell.seed)
            values = cell_values(self.plan, cell, weights)
            strong = strong_values(self.plan, values) if cell.strong else None
            made_from = _digest(values, strong, weights)
            known = self.folder.card(cell)
            if known is not None and known["state"] == FINISHED and known["made_from"] == made_from:
                return None
            self.say(f"{cell.name} ({place})")
            return {"state": FINISHED, "made_from": made_from, "reason": None, **self._outcome(cell, values, strong)}
        except HarnessError as error:
            reason = str(error)
        except Exception as error:  # an overnight study does not end with one cell
            reason = f"{type(error).__name__}: {error} (the traceback is in {self.folder.cell(cell) / LOG})"
            self.folder.cell(cell).mkdir(parents=True, exist_ok=True)
            log(self.folder.cell(cell), traceback.format_exc())
        self.say(f"{cell.name} failed: {reason}")
        return {"state": FAILED, "made_from": made_from, "reason": reason}

    def _base(self, name: str, seed: int) -> Path:
        """Return a base model's weights."""
        if (name, seed) not in self._bases:
            folder = self.folder.base(name, seed)
            with self._journey(folder, base_values(self.plan, name, seed)) as journey:
                self._bases[name, seed] = journey.made_of("train").folder / WEIGHTS
        return self._bases[name, seed]

    def _outcome(self, cell: Cell, values: Values, strong: Values | None) -> Mapping[str, Any]:
        folder = self.folder.cell(cell)
        opened = self._journey(folder, values)
        with opened as journey:
            final = journey.made_of("finetune")
            if cell.name in self.plan.features:
                data = opened.context.data
                twin = load_twin(opened.context, final)
                keep_features(twin, data.test, data.class_names, folder)
            if not cell.on_engine:
                return outcome.of_twin(cell, final, journey.judged_twin())
            (paper,) = journey.results(["eval", "measure"])
        results = {"paper": paper}
        if strong is not None:
            with self._journey(folder, values, strong) as journey:
                (results["strong"],) = journey.results(["eval"])
        return outcome.of_engine(cell, final, results, self.folder)

    def _journey(self, folder: Path, values: Values, asides: Values | None = None) -> _Opened:
        return _Opened(self, folder, values, asides or values)


class _Opened:
    """A run folder held by this process, its settings recorded, and the journey through it."""

    def __init__(self, study: Study, folder: Path, values: Values, asked: Values) -> None:
        recorded, experiment = check(values, folder.name), check(asked, folder.name)
        self._resolved = Resolved(folder.name, recorded, folder)
        self.context = Context(folder.name, experiment, folder, study.data_dir, study.progress, study.command, recorded)
        self._lock = locked(folder)

    def __enter__(self) -> Journey:
        self._lock.__enter__()
        record(self._resolved)
        folder = self._resolved.workspace
        return Journey(self.context, lambda stage, sentence: log(folder, f"{stage}: {sentence}"))

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)


def _digest(values: Values, strong: Values | None, weights: Path) -> str:
    """Return what a cell is made from; the base model by its content, wherever it lies."""
    asked = [{**each, "model": {**each["model"], "checkpoint": None}} for each in (values, strong) if each is not None]
    return sha256_json([asked, sha256_file(weights)])
