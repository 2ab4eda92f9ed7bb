"""Makes the cells of a study one after the other, whatever becomes of each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import HarnessError, InvalidMeasurementError
from contracts.files import sha256_file
from harness.study import made_from, outcome
from harness.study.cell import Cell
from harness.study.features import are_current, keep_features
from harness.study.folder import StudyFolder
from harness.study.plan import Plan, Values, base_values, cell_values, strong_values
from harness.study.shared import take_over
from harness.workflow.artifact import Artifact
from harness.workflow.context import Context
from harness.workflow.journey import Journey
from harness.workflow.run_folder import LOG, locked, log
from harness.workflow.saved_models import WEIGHTS, load_twin
from harness.workflow.settings import Resolved, check, record
from reports.study.document import State

if TYPE_CHECKING:
    from harness.progress import Progress

FINISHED: State = "finished"
FAILED: State = "failed"

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
        after: called whenever a cell's card was written.
    """

    plan: Plan
    folder: StudyFolder
    data_dir: Path | None
    progress: Progress
    say: Say
    command: str
    after: Callable[[], None]
    _bases: dict[tuple[str, int], Artifact | HarnessError] = field(default_factory=dict)

    def run(self, cells: list[Cell]) -> list[str]:
        """Make every cell that is not finished, in this order; return a sentence for each that failed.

        Of a finished cell, latencies that are not valid are measured again, once a run.
        """
        failures = [self._tried(cell, f"{place} of {len(cells)}") for place, cell in enumerate(cells, start=1)]
        return [failure for failure in failures if failure is not None]

    def _tried(self, cell: Cell, place: str) -> str | None:
        """Make what a cell lacks, whatever happens; return why that failed, None where it did not."""
        origin: dict[str, Any] = {
            made_from.SETTINGS: made_from.settings(self.plan, cell),
            made_from.BASE: None,
        }
        known = self.folder.card(cell.name)
        keeps = known is not None and known["state"] == FINISHED  # until the cell itself is touched
        try:
            base = self._base(cell.base, cell.seed)
            origin[made_from.BASE] = sha256_file(base.folder / WEIGHTS)
            keeps = keeps and _same(known, origin)  # what is added to a whole cell does not cost it what it has
            self._complete(cell, base, origin, known if keeps else None, place)
            return None
        except HarnessError as error:
            reason = str(error)
        except Exception as error:  # an overnight study does not end with one cell
            reason = f"{type(error).__name__}: {error} (the traceback is in {self.folder.cell(cell.name) / LOG})"
            with suppress(OSError):  # the disk may be full
                self.folder.cell(cell.name).mkdir(parents=True, exist_ok=True)
                log(self.folder.cell(cell.name), traceback.format_exc())
        self.say(f"{cell.name} failed: {reason}")
        if not keeps:
            with suppress(OSError):
                self._keep(cell, {"state": FAILED, "made_from": origin, "reason": reason})
        return f"{cell.name}: {reason}"

    def _complete(
        self, cell: Cell, base: Artifact, origin: Mapping[str, Any], known: Mapping[str, Any] | None, place: str
    ) -> None:
        """Make a cell, or of one that is known what it lacks: valid latencies, features."""
        values = cell_values(self.plan, cell, base.folder / WEIGHTS)
        if known is None or known.get("doubts"):
            self.say(f"{cell.name} ({place})" + (": its latencies are measured again" if known else ""))
            found = self._made(cell, values, base)
            self._keep(cell, {"state": FINISHED, "made_from": origin, "reason": None, **found})
        elif cell.name in self.plan.features and not are_current(self.folder.cell(cell.name), None):
            self.say(f"{cell.name} ({place}): its features")
            with self._opened(self.folder.cell(cell.name), values) as (context, journey):
                self._keep_features(cell, context, journey.made_of("finetune"))

    def _base(self, name: str, seed: int) -> Artifact:
        """Return a trained base model; one that failed is not trained again for every cell."""
        if (name, seed) not in self._bases:
            with self._opened(self.folder.base(name, seed), base_values(self.plan, name, seed)) as (_, journey):
                try:
                    self._bases[name, seed] = journey.made_of("train")
                except HarnessError as error:
                    self._bases[name, seed] = error
        found = self._bases[name, seed]
        if isinstance(found, HarnessError):
            raise found
        return found

    def _made(self, cell: Cell, values: Values, base: Artifact) -> Mapping[str, Any]:
        """Train, build, measure and attack a cell; return what its card says of it."""
        folder = self.folder.cell(cell.name)
        with self._opened(folder, values) as (context, journey):
            take_over(self.folder, cell, self.plan.grid())
            final = journey.made_of("finetune")
            model = outcome.of_model(base, final, folder)
            self._keep_features(cell, context, final)
            if cell.on_engine:
                results = {outcome.PAPER: _measured(journey)}
            else:
                judged = {outcome.PAPER: journey.judged_twin()}
        if cell.strong:
            with self._opened(folder, values, strong_values(self.plan, values)) as (_, journey):
                if cell.on_engine:
                    (results[outcome.STRONG],) = journey.results(["eval"])
                else:
                    judged[outcome.STRONG] = journey.judged_twin()
        found = outcome.of_engine(results, self.folder) if cell.on_engine else outcome.of_twin(cell, judged)
        return outcome.joined(model, found)

    def _keep_features(self, cell: Cell, context: Context, final: Artifact) -> None:
        folder = self.folder.cell(cell.name)
        if cell.name in self.plan.features and not are_current(folder, final):
            twin = load_twin(context, final).quantize(cell.quantization is not None)
            keep_features(twin, context.data.test, context.data.class_names, folder)

    def _keep(self, cell: Cell, card: Mapping[str, Any]) -> None:
        self.folder.keep(cell.name, card)
        self.after()

    @contextmanager
    def _opened(self, folder: Path, values: Values, asked: Values | None = None) -> Iterator[tuple[Context, Journey]]:
        """Hold a run folder, record its settings and go through it.

        Args:
            folder: the run folder.
            values: its settings, which are recorded.
            asked: other settings for this time.
        """
        recorded = check(values, folder.name)
        experiment = recorded if asked is None else check(asked, folder.name)
        context = Context(folder.name, experiment, folder, self.data_dir, self.progress, self.command, recorded)
        with locked(folder):
            record(Resolved(folder.name, recorded, folder))
            yield context, Journey(context, lambda stage, sentence: log(folder, f"{stage}: {sentence}"))


def _same(known: Mapping[str, Any] | None, origin: Mapping[str, Any]) -> bool:
    """Say whether a card is of the settings and the base model of today."""
    if known is None or made_from.outdated(known["made_from"], origin[made_from.SETTINGS]):
        return False
    return bool(known["made_from"].get(made_from.BASE) == origin[made_from.BASE])


def _measured(journey: Journey) -> Path:
    """Return the result of the one engine; a measurement that is not valid is made again, and taken as it then is."""
    try:
        (result,) = journey.results(["eval", "measure"], require_valid=True)
    except InvalidMeasurementError:
        (result,) = journey.results(["eval", "measure"])
    return result
