"""The journey of a model: which artifact is made from which, from the data set to the engines and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from contracts.errors import InputError, InvalidMeasurementError
from engines.backend import GraphKind, Precision
from engines.registry import backend as find_backend
from engines.registry import choose
from harness.devices.environment import Environment, device_id, environment
from harness.workflow.artifact import Task
from harness.workflow.context import Context
from harness.workflow.ledger import Ledger, Say
from harness.workflow.stages import assemble, build, evaluate, export, finetune, measure, prune, quantize, train

Part = Literal["eval", "measure"]


@dataclass(frozen=True)
class EngineChoice:
    """Which engines a command acts on; None leaves it to the experiment."""

    backends: tuple[str, ...] | None = None
    precisions: tuple[Precision, ...] | None = None


class Journey:
    """The tasks of one experiment, and what is done with them."""

    def __init__(self, context: Context, say: Say) -> None:
        self._context = context
        self._say = say
        self._ledger = Ledger(context.folder, say)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._context.folder

    @cached_property
    def base(self) -> Task:
        """The trained model."""
        return train.task(self._context)

    @cached_property
    def pruned(self) -> Task:
        """The trained model without the channels that were cut."""
        return prune.task(self._context, self.base)

    @cached_property
    def ranges(self) -> Task:
        """The quantizers' ranges after calibration."""
        return quantize.task(self._context, self.pruned)

    @cached_property
    def final(self) -> Task:
        """The final weights and ranges: float and twin at once."""
        return finetune.task(self._context, self.pruned, self.ranges)

    def graph(self, kind: GraphKind) -> Task:
        """The final model as a graph."""
        return export.task(self._context, self.final, kind)

    def engine(self, backend: str, precision: Precision) -> Task:
        """The final model as an engine."""
        graph = self.graph(build.graph_kind(backend, precision))
        return build.task(self._context, graph, backend, precision)

    @cached_property
    def _place(self) -> Environment:
        return environment()

    @cached_property
    def _device(self) -> str:
        return device_id(self._place)

    def make(self, stage: str, choice: EngineChoice, *, again: bool = False) -> None:
        """Make what a stage makes, and first whatever is missing before it.

        Args:
            stage: train, prune, quantize, finetune, export or build.
            choice: which engines `build` makes.
            again: make it even if it is up to date.

        Raises:
            InputError: there is nothing to prune.
        """
        for task in self._targets(stage, choice):
            self._ledger.ensure(task, again=again)

    def _targets(self, stage: str, choice: EngineChoice) -> list[Task]:
        if stage == prune.NAME and self._context.experiment.prune.method == "none":
            raise InputError("there is nothing to prune: set prune.method, for example with --set prune.method=l1")
        simple = {train.NAME: "base", prune.NAME: "pruned", quantize.NAME: "ranges", finetune.NAME: "final"}
        if stage in simple:
            found: Task = getattr(self, simple[stage])
            return [found]
        if stage == export.NAME:
            return [self.graph("float"), self.graph("int8")]
        return self._engines(choice)

    def results(
        self, parts: Sequence[Part], choice: EngineChoice, *, again: bool = False, require_valid: bool = False
    ) -> list[Path]:
        """Evaluate and measure engines, and return the folders of their results.

        Args:
            parts: what to do; the other part joins the result where it is up to date.
            choice: which engines.
            again: do it even if it is up to date.
            require_valid: refuse measurements that are not valid; one that lies here is made again.

        Raises:
            InvalidMeasurementError: a window is not valid and `require_valid` is set; the results are written.
        """
        folders = []
        reasons: list[str] = []
        for engine in self._engines(choice):
            fragments = self._fragments(engine, parts, again, require_valid)
            folders.append(assemble.assemble(self._context, fragments, self._device, self._place))
            if fragments.measurement is not None and "measure" in parts:
                reasons += _doubts(fragments.measurement.manifest["info"])
        if reasons and require_valid:
            raise InvalidMeasurementError(f"the measurement is not valid: {'; '.join(dict.fromkeys(reasons))}")
        return folders

    def _engines(self, choice: EngineChoice) -> list[Task]:
        asked = self._context.experiment.build
        names = []
        for name in choice.backends or asked.backend:
            chosen, reason = choose(name)
            self._say(build.NAME, reason)
            names.append(chosen)
        precisions = choice.precisions or asked.precision
        pairs = [(name, precision) for name in dict.fromkeys(names) for precision in precisions]
        # Of several backends each builds what it has; a pair that was asked for alone is refused where it is not.
        possible = [pair for pair in pairs if len(names) == 1 or pair[1] in find_backend(pair[0]).precisions]
        return [self.engine(name, precision) for name, precision in possible or pairs]

    def _fragments(self, engine: Task, parts: Sequence[Part], again: bool, require_valid: bool) -> assemble.Fragments:
        context, ledger, device = self._context, self._ledger, self._device
        made = ledger.ensure(engine)
        clean = evaluate.clean_task(context, engine, self.final, device)
        settings = context.experiment.eval
        attacks = [
            evaluate.attack_task(context, engine, self.final, clean, attack, epsilon, device)
            for attack in settings.attack
            for epsilon in settings.epsilon
        ]
        measured = measure.task(context, engine, device)
        if "eval" in parts:
            ledger.ensure(clean, again=again)
            for attack in attacks:
                ledger.ensure(attack, again=again)
        if "measure" in parts:
            kept = ledger.peek(measured) if require_valid else None
            doubtful = kept is not None and bool(_doubts(kept.manifest["info"]))
            ledger.ensure(measured, again=again or doubtful)
        return assemble.Fragments(
            engine=made,
            lineage=tuple(ledger.ancestry(engine)),
            final=ledger.peek(self.final),
            clean=ledger.peek(clean),
            attacks=tuple(found for attack in attacks if (found := ledger.peek(attack)) is not None),
            measurement=ledger.peek(measured),
        )


def _doubts(measurement: Mapping[str, Any]) -> list[str]:
    """Return why a measurement is not valid; nothing where it is."""
    device = measurement["device"]
    failed = [str(measurement["latency_reason"])] if measurement["latency_reason"] else []
    windows = [
        str(reason) for latency in measurement["latency"] if not latency["valid"] for reason in latency["reasons"]
    ]
    return failed + windows + ([] if device["valid"] else [str(reason) for reason in device["reasons"]])
