"""The parts of the result document on accuracy under attack: how much is left, what ran, what to make of it."""

from __future__ import annotations

from pydantic import Field

from reports.part import Count, Fraction, Part

Settings = dict[str, float | int | bool | str]
"""An attack's hyper-parameters by name."""


class Rate(Part):
    """A share of n images with its 95 % Wilson interval."""

    value: Fraction
    n: Count
    ci95: tuple[Fraction, Fraction]


class Arm(Rate):
    """One arm of the robustness protocol: robust accuracy by this arm alone, and what it cost."""

    unique_wins: Count
    queries: Count
    seconds: float


class Step(Part):
    """One attack of an arm.

    `source` is the model whose gradients it followed (`float`, `twin`); None where it asked the engine alone, `file`
    where images of an `.npz` were replayed. `turned` of the `attacked` images fooled the engine.
    """

    arm: str
    attack: str
    source: str | None
    attacked: Count
    turned: Count
    queries: Count
    seconds: float
    settings: Settings


class MinimalNorm(Part):
    """The median, over the n images that are right when clean, of the smallest change seen to fool the engine.

    In the attack's norm, values being in [0, 1]; None, with a reason, where more than half were never turned.
    """

    median: float | None
    n: Count
    turned: Count
    reason: str | None = None


class Stage(Part):
    """What one model on the way to the engine keeps: base, pruned, float, twin, engine."""

    stage: str
    clean: Rate
    robust: Rate


class Attribution(Part):
    """What was lost where, in the order of the stages.

    Every model was attacked by the same attack through its own gradients, the engine by the protocol's arms with it.
    """

    attack: str
    stages: tuple[Stage, ...]


class Rule(Part):
    """A sanity rule that ran; `held` is None where it could not be judged.

    `told` is what was seen and, where the rule did not hold, what that means and what to try.
    """

    rule: str
    held: bool | None
    told: str


class Robustness(Part):
    """Robust accuracy of the engine under one attack, as the worst case over its arms for every image.

    `skipped` are the arms that did not run, with their reasons; `gradients` is the type that gradients were computed
    in (float32, bfloat16), decisions being float32 always.
    """

    attack: str
    norm: str
    epsilon: float
    settings: Settings
    worst_case: Rate
    arms: dict[str, Arm]
    warnings: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    skipped: dict[str, str] = Field(default_factory=dict)
    minimal_norm: MinimalNorm | None = None
    attribution: Attribution | None = None
    sanity: tuple[Rule, ...] = ()
    gradients: str | None = None
