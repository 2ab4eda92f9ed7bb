"""Attack: the robustness protocol on one engine at one epsilon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.files import sha256_json
from engines.engine import Engine, LoadOptions
from engines.loading import load_engine
from harness.attacks.attack import Attack
from harness.attacks.registry import attack as find_attack
from harness.attacks.registry import expanded, settings_of
from harness.data.dataset import Images
from harness.devices.environment import environment
from harness.robustness.decisions import BATCH
from harness.robustness.engagement import Engagement
from harness.robustness.journal import Journal
from harness.robustness.plan import Plan, plan
from harness.robustness.protocol import SHOWN, ArmOutcome, run
from harness.robustness.repeatability import voted
from harness.robustness.worst_case import minimal_norm, worst_case
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact, Made, Task
from harness.workflow.context import Context
from harness.workflow.fragments import ATTACK, FOLDER
from harness.workflow.stages.attribute import BASE
from harness.workflow.stages.build import graph_kind
from harness.workflow.stages.clean import NAME, OUTCOMES, evaluated

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable
    from harness.workflow.experiment import Experiment

IMAGES = "images.npz"
UNFINISHED = "unfinished"

_RULE = f"the first {SHOWN} images of the test split that any arm turned, each as the first arm that did turned it"


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


def attack_task(context: Context, given: Given, epsilon: float, device: str) -> Task:
    """Return how the protocol's outcome at one epsilon is made."""
    experiment = context.experiment
    settings: dict[str, Any] = {
        "attack": "+".join(experiment.eval.attack),
        "hyper_parameters": _hyper_parameters(context),
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
        make=lambda folder, parents: _Protocol(
            context, folder, dict(zip(made_from, parents, strict=True)), epsilon, name
        ).make(),
        parents=tuple(made_from.values()),
        inputs=(context.data_input, *context.attack_inputs),
    )


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


def why_no_gradients(experiment: Experiment) -> str | None:
    """Return why there is nothing here to take gradients of; None where there is."""
    if experiment.model.onnx is not None:
        return "a given ONNX graph has no gradients"
    if find_spec("torch") is None:
        return "torch is not installed here, which gradients need"
    return None


def gradient_sources(context: Context, final: Artifact, names: Sequence[str]) -> dict[str, Differentiable]:
    """Return models with gradients of a final checkpoint, by name: "float" and "twin"."""
    import torch

    from harness.attacks.differentiable import Differentiable
    from harness.devices.half_precision import half_type

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = half_type(context.experiment.eval.gradients, device)
    # Only the images' gradient is wanted: the weights' would cost half as much again.
    twin = saved_models.load_twin(context, final).requires_grad_(False)
    sources = {}
    for name in names:
        model = deepcopy(twin).quantize(name == "twin")  # tracing it again would take longer
        sources[name] = Differentiable(model.to(device).to(memory_format=torch.channels_last), half)
    return sources


def _hyper_parameters(context: Context) -> dict[str, dict[str, Any]]:
    """Return the settings of every attack that will run, by name, defaults included."""
    every = protocol_plan(context, {"own": None}, "")
    return {step.attack.name: settings_of(step.attack) for step in every.steps}


class _Protocol:
    """The protocol on one engine at one epsilon, from artifacts to an artifact."""

    def __init__(
        self, context: Context, folder: Path, parents: Mapping[str, Artifact], epsilon: float, name: str
    ) -> None:
        self._context, self._experiment, self._folder = context, context.experiment, folder
        self._engine, self._clean = parents["engine"], parents["clean"]
        self._final, self._attribution = parents.get("final"), parents.get("attribution")
        self._epsilon, self._name = epsilon, name
        self._split = evaluated(context)
        self._clean_decisions = np.load(self._clean.folder / OUTCOMES, allow_pickle=False)["clean_decisions"]
        given = (context.data_input, *context.attack_inputs)
        made_from = sha256_json([each.sha256 for each in parents.values()] + [each.digest() for each in given])
        self._journal = Journal(context.folder / UNFINISHED / name, made_from)

    def make(self) -> Made:
        """Run every arm, combine them, and say how far the result can be believed."""
        from harness.robustness.sanity.check import check

        why_not = why_no_gradients(self._experiment)
        sources = {} if why_not else self._sources()
        planned = protocol_plan(self._context, sources, why_not or "")
        with load_engine(self._engine.folder, LoadOptions(BATCH)) as engine:
            engagement = self._engagement(engine, sources)
            arms = run(engagement, planned.steps, self._journal, self._context.progress, self._title)
            with self._context.progress.bar(f"{self._title}: sanity rules", 1):
                rules = check(self._evidence(engagement, planned, arms))
        outcome = worst_case(self._split.labels, self._clean_decisions, arms)
        self._save(arms, outcome.winner)
        climbing = any(step.attack.needs_gradient for step in planned.steps)
        norms = minimal_norm(self._split.labels, self._clean_decisions, arms)
        made = {
            "worst_case": asdict(outcome.robust),
            "arms": {
                arm.name: {
                    **asdict(alone),
                    "unique_wins": wins,
                    "queries": arm.queries,
                    "seconds": round(arm.seconds, 3),
                }
                for arm, alone, wins in zip(arms, outcome.alone, outcome.unique_wins, strict=True)
            },
            "steps": [_step(outcome) for arm in arms for outcome in arm.steps],
            "skipped": planned.skipped,
            "minimal_norm": asdict(norms) if _seeks_minimal_norms(planned) else None,
            "attribution": self._attributed(arms),
            "sanity": [asdict(rule) for rule in rules],
            "gradients": self._gradients(sources) if climbing else None,
            "warnings": [rule.told for rule in rules if rule.held is False],
            "environment": environment().to_json(),
        }
        self._journal.close()
        return made

    @property
    def _title(self) -> str:
        return f"{'+'.join(self._experiment.eval.attack)} {self._epsilon:g} on {self._engine.folder.name}"

    def _sources(self) -> dict[str, Differentiable]:
        """Return the models with gradients that the engine was made from, its own function last."""
        manifest = self._engine.info("engine")
        names = ("float", "twin") if graph_kind(manifest["backend"], manifest["precision"]) == "int8" else ("float",)
        assert self._final is not None, "where there are gradients, the journey asks for the model"
        return gradient_sources(self._context, self._final, names)

    def _engagement(self, engine: Engine, sources: Mapping[str, Differentiable]) -> Engagement:
        return Engagement(
            infer=voted(engine.infer, self._clean.info("repeatability")["votes"]),
            sources=sources,
            split=self._split,
            clean_decisions=self._clean_decisions,
            norm=self._experiment.eval.norm,
            epsilon=self._epsilon,
            seed=self._experiment.seed,
            batch=self._journal.fact("batch", lambda: self._batch(sources)),
        )

    def _batch(self, sources: Mapping[str, Differentiable]) -> int:
        from harness.robustness.batch_size import for_gradients

        return for_gradients(list(sources.values())[-1], self._split.images) if sources else BATCH

    def _evidence(self, engagement: Engagement, planned: Plan, arms: tuple[ArmOutcome, ...]) -> Any:
        from harness.robustness.sanity.evidence import Evidence

        return Evidence.gathered(
            engagement,
            tuple(dict.fromkeys(step.attack for step in planned.steps if isinstance(step.attack, Attack))),
            arms,
            self._undefended(),
        )

    def _undefended(self) -> float | None:
        """Return the robust accuracy of a base model that was trained without any defence; None where there is none."""
        if self._attribution is None or self._experiment.train.method != "standard":
            return None
        stages = {stage["stage"]: stage["robust"]["value"] for stage in self._attribution.info("stages")}
        return stages.get(BASE)

    def _attributed(self, arms: tuple[ArmOutcome, ...]) -> dict[str, Any] | None:
        """Return the models on the way and, as the last, the engine under the same attack."""
        from harness.robustness.intervals import share

        if self._attribution is None:
            return None
        name = self._attribution.info("attack")
        right = self._clean_decisions == self._split.labels
        turned = np.zeros_like(right)
        for step in (step for arm in arms for step in arm.steps if step.step.attack.name == name):
            turned[step.turned] = True
        engine = {"stage": "engine", "clean": asdict(share(right)), "robust": asdict(share(right & ~turned))}
        return {"attack": name, "stages": [*self._attribution.info("stages"), engine]}

    def _gradients(self, sources: Mapping[str, Differentiable]) -> str | None:
        halves = {source.half for source in sources.values()}
        return "float32" if halves == {None} else str(*halves).removeprefix("torch.")

    def _save(self, arms: tuple[ArmOutcome, ...], winner: Any) -> None:
        """Keep every decision, and the images that the report shows."""
        arrays: dict[str, Any] = {f"{arm.name}_decisions": arm.decisions for arm in arms}
        arrays |= {f"{arm.name}_distances": arm.distances for arm in arms}
        np.savez_compressed(self._folder / OUTCOMES, winner=winner, **arrays)
        found: dict[int, tuple[Images, int, str]] = {}
        for arm in arms:
            for step in arm.steps:
                for row, image in zip(step.shown.tolist(), step.adversarial, strict=True):
                    found.setdefault(row, (image, int(arm.decisions[row]), f"{arm.name}, {step.step.title}"))
        rows = sorted(found)[:SHOWN]
        np.savez_compressed(
            self._folder / IMAGES,
            clean=self._split.images[rows],
            adversarial=np.array([found[row][0] for row in rows], np.float32).reshape(
                -1, *self._split.images.shape[1:]
            ),
            labels=self._split.labels[rows],
            clean_decisions=self._clean_decisions[rows],
            adversarial_decisions=np.array([found[row][1] for row in rows], np.int64),
            turned_by=np.array([found[row][2] for row in rows], np.str_),
            rule=np.array(_RULE),
            class_names=np.array(self._context.data.class_names),
        )


def _seeks_minimal_norms(planned: Plan) -> bool:
    return any(step.attack.name == "fab-t" for step in planned.steps)


def _step(outcome: Any) -> dict[str, Any]:
    step = outcome.step
    return {
        "arm": step.arm,
        "attack": step.attack.name,
        "source": step.source,
        "attacked": outcome.attacked,
        "turned": len(outcome.turned),
        "queries": outcome.queries,
        "seconds": round(outcome.seconds, 3),
        "settings": {key: value for key, value in settings_of(step.attack).items() if value is not None},
    }
