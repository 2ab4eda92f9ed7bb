"""The journey of a model: which artifact is made from which, from the data set to the engines and their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from calibration.graphs.qdq import DEPLOYED_BITS
from contracts.errors import InputError, InvalidMeasurementError
from engines.backend import GRAPH_KINDS, Precision
from engines.registry import backend as find_backend
from engines.registry import choose
from harness.devices.environment import device_id, environment
from harness.workflow import attack_images
from harness.workflow.artifact import Artifact, Task, ancestors, descends_from, is_known
from harness.workflow.context import Context
from harness.workflow.fragments import Fragments, KnownFragments, doubts
from harness.workflow.gradient_sources import why_no_gradients
from harness.workflow.judging_attack import judging_attack
from harness.workflow.ledger import Ledger, Say
from harness.workflow.origin import Trained, origin
from harness.workflow.other_engine import find_other
from harness.workflow.stages import against as compare
from harness.workflow.stages import (
    assemble,
    attack,
    attribute,
    build,
    clean,
    export,
    keep_float,
    measure,
    sensitivity,
)
from harness.workflow.stages.keep_float import MixedPrecision
from harness.workflow.stages.sensitivity import Sensitivity

if TYPE_CHECKING:
    from harness.robustness.plan import Plan

Part = Literal["eval", "measure"]


class Journey:
    """The tasks of one experiment, and what is done with them."""

    def __init__(self, context: Context, say: Say) -> None:
        self._context = context
        self._say = say
        self._ledger = Ledger(context.folder, say)
        self.origin = origin(context)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._context.folder

    @property
    def made(self) -> int:
        """How many artifacts were made so far; the others were up to date."""
        return self._ledger.made

    def engine(self, backend: str, precision: Precision) -> Task:
        """The final model as an engine."""
        kind = build.graph_kind(backend, precision)
        graph = self.origin.graph(kind)
        reference = graph if kind in ("float", "int8") else self.origin.graph("float")
        return build.task(self._context, graph, reference, backend, precision)

    @cached_property
    def _device(self) -> str:
        return device_id(environment(self._context.machine))

    def make(self, stage: str, *, again: bool = False) -> None:
        """Make what a stage makes, and first whatever is missing before it.

        Args:
            stage: train, prune, quantize, sensitivity, finetune, export or build.
            again: make it even if it is up to date.

        Raises:
            InputError: this model has no such stage.
        """
        if stage == export.NAME:
            for kind in GRAPH_KINDS:
                if why := self.origin.missing(kind):
                    self._say(stage, f"no graphs/{kind}: {why}")
        for task in self.engines() if stage == build.NAME else self.origin.stage(stage):
            self._ledger.ensure(task, again=again)

    def record_attack_images(self, file: Path) -> None:
        """Attack the final model, and write the images for boards that have no gradients.

        Raises:
            InputError: the model is a given graph, no attack follows gradients, or no file can be written there.
            MissingDependencyError: torch is not installed.
        """
        attack_images.check_possible(self._context.experiment, file)
        self._say(export.NAME, attack_images.make(self._context, self._ledger.ensure(self.origin.final), file))

    def sensitivity(self, *, again: bool = False) -> Sensitivity:
        """Return what quantizing each layer alone costs.

        Raises:
            InputError: the model has no gradients, so that its robust accuracy cannot be found.
        """
        return sensitivity.read(self.made_of(sensitivity.NAME, again=again))

    def mixed_precision(self) -> MixedPrecision | None:
        """Return which layers were chosen to stay in float and what that costs; None where none are to be chosen.

        The times are missing where no INT8 engine can be built: of other widths, or by a backend without INT8.
        """
        if not isinstance(self.origin, Trained) or self._context.experiment.quantize.keep_float != "auto":
            return None
        ranges = self._ledger.ensure(self.origin.ranges)
        backend, _ = choose(self._context.experiment.build.backend[0])
        deployed = self._context.experiment.quantize.bits == DEPLOYED_BITS
        if not ranges.info("keep_float") or not deployed or "int8" not in find_backend(backend).precisions:
            return keep_float.read(ranges, None)
        origin = self.origin
        task = keep_float.latency_task(
            self._context, origin.unquantized, origin.calibrated, origin.ranges, backend, self._device
        )
        return keep_float.read(ranges, self._ledger.ensure(task))

    def engines(self) -> list[Task]:
        """Return the experiment's engines.

        Raises:
            InputError: a precision that none of the backends has.
        """
        asked = self._context.experiment.build
        names = []
        for name in asked.backend:
            chosen, reason = choose(name)
            self._say(build.NAME, reason)
            names.append(chosen)
        names = list(dict.fromkeys(names))
        for precision in asked.precision:
            if not any(precision in find_backend(name).precisions for name in names):
                find_backend(names[0]).check_precision(precision)
        # Of several backends each builds what it has.
        return [
            self.engine(name, precision)
            for name in names
            for precision in asked.precision
            if precision in find_backend(name).precisions
        ]

    def results(
        self,
        parts: Sequence[Part],
        *,
        again: bool = False,
        require_valid: bool = False,
        against: tuple[str, int] | None = None,
    ) -> list[Path]:
        """Evaluate and measure engines, and return the folders of their results.

        Args:
            parts: what to do; of the other part, the newest that is known of the engine joins the result.
            again: do it even if it is up to date.
            require_valid: refuse measurements that are not valid; one that lies here is made again.
            against: another engine, see `find_other`, and how many pairs of windows compare each engine with it.

        Raises:
            InputError: there is no such other engine, or one to evaluate was not made from this run folder's model.
            InvalidMeasurementError: a window is not valid and `require_valid` is set; the results are written.
        """
        folders = []
        reasons: list[str] = []
        other = None if against is None else find_other(self.folder, against[0])
        for engine in self.engines():
            made = self._ledger.ensure(engine)
            known = KnownFragments(self.folder, self._device, made, self._context.data_input)
            decided, attacks = self._evaluate(engine, made, again) if "eval" in parts else known.newest_evaluation()
            if "measure" in parts:
                measured: Artifact | None = self._measure(engine, again, require_valid)
                reasons += doubts(measured) if measured else []
            else:
                measured = known.newest_measurement()
            if against is not None and other is not None:
                task = compare.task(self._context, engine, other, against[1], self._device)
                self._ledger.ensure(task, again=again)
            lineage = tuple(self._ledger.ancestry(engine))
            found = Fragments(
                made,
                lineage,
                self._ledger.peek(self.origin.final),
                decided,
                attacks,
                measured,
                known.newest_comparisons(),
            )
            folders.append(assemble.assemble(self._context, found, self._device))
        if reasons and require_valid:
            raise InvalidMeasurementError(f"the measurement is not valid: {'; '.join(dict.fromkeys(reasons))}")
        return folders

    def judged_twin(self) -> Artifact:
        """Return what the twin itself decides, clean and under all attacks.

        Raises:
            InputError: the model is a given graph, which has no gradients.
        """
        if not isinstance(self.origin, Trained):
            raise InputError("a given ONNX graph has no twin: evaluate its engine")
        epsilon = self._context.experiment.eval.epsilon[0]
        return self._ledger.ensure(attribute.twin_task(self._context, self.origin.final, epsilon, self._device))

    def made_of(self, stage: str, *, again: bool = False) -> Artifact:
        """Return what a stage before the engines makes, made now where it is missing, or if `again` is set."""
        (task,) = self.origin.stage(stage)
        return self._ledger.ensure(task, again=again)

    def _evaluate(self, engine: Task, made: Artifact, again: bool) -> tuple[Artifact, tuple[Artifact, ...]]:
        context, why = self._context, why_no_gradients(self._context.experiment)
        planned = attack.protocol_plan(context, {"own": None} if why is None else {}, why or "")
        needed = any(step.attack.needs_gradient for step in planned.steps)
        final = self._model_of(engine, made, needed=needed)
        attack_images.check_fits(context, made)
        reference = clean.reference_task(context, self.origin.graph("float"), self._device)
        decided = clean.clean_task(context, engine, reference, self._device)
        first = self._ledger.ensure(decided, again=again)
        outcomes = []
        for epsilon in context.experiment.eval.epsilon if planned.steps else ():
            task = self._attack(attack.Given(engine, final, decided, None), planned, epsilon)
            outcomes.append(self._ledger.ensure(task, again=again))
        return first, tuple(outcomes)

    def _model_of(self, engine: Task, made: Artifact, *, needed: bool) -> Task | None:
        """Return the model that an engine was made from; None where it is not here and not needed.

        An engine may lie here without its model, which must then not be trained anew: it would be another one. Clean
        decisions are held against the float graph's, which must be of the same model then.
        """
        final = self.origin.final
        here = self._ledger.peek(final)
        if here is not None and descends_from(made, here):
            return final
        graph = self._ledger.peek(self.origin.graph("float"))
        if not needed and not is_known(self.folder / final.path):
            if graph is None:
                raise InputError(
                    f"{engine.path} lies here without graphs/float, whose decisions its own are held against: copy "
                    "graphs/ too, from where it was made"
                )
            if {pair for pair in ancestors(made) & ancestors(graph) if pair[0] == final.path}:
                return None
        raise InputError(
            f"{engine.path} was not made from the model in this run folder, so attacks on that model tell nothing "
            "of it: build it again with 'harness build --again', or evaluate it where it was made"
        )

    def _attack(self, given: attack.Given, planned: Plan, epsilon: float) -> Task:
        """Return the protocol on an engine, with the models on the way to it where they are here.

        They are attacked only where the engine is by the same attack: else there is nothing to hold them against.
        """
        common = judging_attack(self._context.experiment).attack.name in {step.attack.name for step in planned.steps}
        gradients = why_no_gradients(self._context.experiment) is None
        wanted = self._context.experiment.eval.attribution and common
        if isinstance(self.origin, Trained) and given.final is not None and gradients and wanted:
            on_the_way = (self.origin.base, self.origin.pruned)
            if all(self._ledger.peek(each) for each in on_the_way):
                found = attribute.task(self._context, *on_the_way, given.final, epsilon, self._device)
                given = replace(given, attribution=found)
        return attack.attack_task(self._context, given, planned, epsilon, self._device)

    def _measure(self, engine: Task, again: bool, require_valid: bool) -> Artifact:
        task = measure.task(self._context, engine, self._device)
        kept = self._ledger.peek(task) if require_valid else None
        return self._ledger.ensure(task, again=again or (kept is not None and bool(doubts(kept))))
