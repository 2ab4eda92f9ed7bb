"""Attack: the robustness protocol on one engine at one epsilon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.files import sha256_json
from engines.engine import Engine, LoadOptions
from engines.loading import load_engine
from harness import __version__
from harness.attacks.attack import Attack
from harness.attacks.registry import SETS, expanded, settings_of
from harness.attacks.registry import attack as find_attack
from harness.data.dataset import Split
from harness.devices.environment import environment, installed_packages
from harness.robustness.decisions import BATCH
from harness.robustness.engagement import Engagement
from harness.robustness.journal import Journal
from harness.robustness.outcome import Outcome
from harness.robustness.plan import Plan, plan
from harness.robustness.protocol import ArmOutcome, run
from harness.robustness.repeatability import voted
from harness.workflow.artifact import UNFINISHED, Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.fragments import ATTACK, FOLDER
from harness.workflow.gradient_sources import gradient_sources, why_no_gradients
from harness.workflow.stages.attribute import BASE, FLOAT, TWIN
from harness.workflow.stages.build import graph_kind
from harness.workflow.stages.clean import NAME, OUTCOMES, evaluated

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable
    from harness.robustness.sanity.findings import Rule

IMAGES = "images.npz"


@dataclass(frozen=True)
class Given:
    """What an attack is made from.

    Attributes:
        engine: the engine.
        final: the final checkpoint, or the given float graph; None where it is not here and nothing needs it.
        clean: the engine's clean decisions.
        attribution: of the models on the way; None where they are not here.
    """

    engine: Task
    final: Task | None
    clean: Task
    attribution: Task | None


def attack_task(context: Context, given: Given, planned: Plan, epsilon: float, device: str) -> Task:
    """Return how the protocol's outcome at one epsilon is made."""
    experiment = context.experiment
    settings: dict[str, Any] = {
        "attack": what_runs(experiment.eval.attack, planned),
        "hyper_parameters": {step.attack.name: settings_of(step.attack) for step in planned.steps},
        "norm": experiment.eval.norm,
        "epsilon": epsilon,
        "arms": list(experiment.eval.arms),
        "gradients": experiment.eval.gradients,
        "samples": experiment.eval.samples,
        "seed": experiment.seed,
        "device": device,
    }
    protocol = sha256_json(settings)[:8]
    name = f"{settings['attack']}-{experiment.eval.norm}-{epsilon:g}-{Path(given.engine.path).name}-{protocol}"
    made_from = {role: task for role, task in vars(given).items() if task is not None}
    return Task(
        stage=NAME,
        path=f"{FOLDER}/{device}/{name}",
        kind=ATTACK,
        settings=settings,
        make=lambda folder, parents: _Protocol(context, dict(zip(made_from, parents, strict=True)), epsilon, name).make(
            folder
        ),
        parents=tuple(made_from.values()),
        inputs=(context.data_input, *context.attack_inputs),
        unfinished=f"{UNFINISHED}/{name}",
    )


def what_runs(asked: Sequence[str], planned: Plan) -> str:
    """Return the attacks and sets that were asked for and run, with + between them; if none does, what runs instead.

    Of a set that does not run as a whole it is the members that do: the arm `query` alone is no AutoAttack.
    """
    running = tuple(dict.fromkeys(step.attack.name for step in planned.steps))
    found: list[str] = []
    for name in asked:
        members = SETS.get(name, (name,))
        ran = [member for member in members if member in running]
        found += [name] if len(ran) == len(members) else ran
    return "+".join(dict.fromkeys(found or running))


def protocol_plan(context: Context, sources: Mapping[str, Any], no_sources: str) -> Plan:
    """Return what the experiment's evaluation runs; `sources` and `no_sources` as in `plan`."""
    experiment, asked = context.experiment, context.experiment.eval
    return plan(
        asked.arms,
        expanded(asked.attack),
        lambda name: find_attack(name, experiment.attack.get(name, {})),
        list(sources),
        no_sources,
        context.attack_images,
    )


class _Protocol:
    """The protocol on one engine at one epsilon, from artifacts to an artifact."""

    def __init__(self, context: Context, parents: Mapping[str, Artifact], epsilon: float, name: str) -> None:
        self._context, self._experiment = context, context.experiment
        self._engine, self._clean = parents["engine"], parents["clean"]
        self._final, self._attribution = parents.get("final"), parents.get("attribution")
        self._epsilon = epsilon
        self._votes = int(self._clean.info("repeatability")["votes"])
        self._title = f"{'+'.join(self._experiment.eval.attack)} {epsilon:g} on {self._engine.folder.name}"
        given = (context.data_input, *context.attack_inputs)
        # The settings are in the name. Batches of another version's attacks, or of another torch's, are no half of one.
        made_from = {
            "parents": [each.sha256 for each in parents.values()],
            "inputs": [each.digest() for each in given],
            "votes": self._votes,
            "packages": {**installed_packages(), "harness": __version__},
        }
        self._journal = Journal(context.folder / UNFINISHED / name, sha256_json(made_from))

    def make(self, folder: Path) -> Made:
        """Run every arm, combine them, and say how far the result can be believed."""
        why_not = why_no_gradients(self._experiment) or (None if self._final else "the model is not in this run folder")
        sources = {} if why_not else self._sources()
        planned = protocol_plan(self._context, sources, why_not or "")
        with load_engine(self._engine.folder, LoadOptions(BATCH)) as engine:
            engagement = self._engagement(engine, sources)
            arms = run(engagement, planned.steps, self._journal, self._context.progress, self._title)
            rules = self._doubts(engagement, planned, arms)
        outcome = Outcome(engagement.split, engagement.clean_decisions, planned, arms)
        np.savez_compressed(folder / OUTCOMES, **outcome.arrays())
        class_names = np.array(self._context.data.class_names)
        np.savez_compressed(folder / IMAGES, class_names=class_names, **outcome.pictures())
        return {
            **outcome.to_json(),
            "attribution": self._attributed(outcome),
            "sanity": [asdict(rule) for rule in rules],
            "gradients": _type_of_gradients(planned, sources),
            "warnings": [rule.told for rule in rules if rule.held is False],
            "environment": environment(self._context.machine).to_json(),
        }

    def _sources(self) -> dict[str, Differentiable]:
        """Return the models with gradients that the engine was made from, its own function last."""
        names = (FLOAT, TWIN) if self._quantized() else (FLOAT,)
        assert self._final is not None
        return gradient_sources(self._context, self._final, names)

    def _quantized(self) -> bool:
        """Say whether the engine was made from the twin, and not from the float model."""
        manifest = self._engine.info("engine")
        return graph_kind(manifest["backend"], manifest["precision"]) == "int8"

    def _engagement(self, engine: Engine, sources: Mapping[str, Differentiable]) -> Engagement:
        split = evaluated(self._context)
        return Engagement(
            infer=voted(engine.infer, self._votes),
            sources=sources,
            split=split,
            clean_decisions=np.load(self._clean.folder / OUTCOMES, allow_pickle=False)["clean_decisions"],
            norm=self._experiment.eval.norm,
            epsilon=self._epsilon,
            seed=self._experiment.seed,
            batch=self._journal.fact("batch", lambda: _batch(sources, split)),
        )

    def _doubts(self, engagement: Engagement, planned: Plan, arms: tuple[ArmOutcome, ...]) -> tuple[Rule, ...]:
        from harness.robustness.sanity.check import check
        from harness.robustness.sanity.evidence import Evidence

        climbing = tuple(dict.fromkeys(step.attack for step in planned.steps if isinstance(step.attack, Attack)))
        with self._context.progress.bar(f"{self._title}: sanity rules", 1):
            return check(Evidence.gathered(engagement, climbing, arms, self._undefended()))

    def _undefended(self) -> float | None:
        """Return the robust accuracy of a base model that was trained without any defence; None where there is none.

        How a checkpoint that was given was trained nobody knows.
        """
        given = self._experiment.model.checkpoint is not None
        if self._attribution is None or given or self._experiment.train.method != "standard":
            return None
        stages = {stage["stage"]: stage["robust"]["value"] for stage in self._attribution.info("stages")}
        return stages.get(BASE)

    def _attributed(self, outcome: Outcome) -> dict[str, Any] | None:
        """Return the models on the way and, as the last, the engine under the same attack, where an arm ran it.

        No float engine comes from the twin.
        """
        if self._attribution is None:
            return None
        name = self._attribution.info("attack")
        stages = [each for each in self._attribution.info("stages") if self._quantized() or each["stage"] != TWIN]
        if (found := outcome.under(name)) is not None:
            clean, robust = found
            stages.append({"stage": "engine", "clean": asdict(clean), "robust": asdict(robust)})
        return {"attack": name, "stages": stages}


def _batch(sources: Mapping[str, Differentiable], split: Split) -> int:
    from harness.robustness.batch_size import for_gradients

    return for_gradients(list(sources.values())[-1], split.images) if sources else BATCH


def _type_of_gradients(planned: Plan, sources: Mapping[str, Differentiable]) -> str | None:
    if not any(step.attack.needs_gradient for step in planned.steps):
        return None
    halves = {source.half for source in sources.values()}
    return "float32" if halves == {None} else str(*halves).removeprefix("torch.")
