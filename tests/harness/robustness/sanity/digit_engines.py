"""A small net trained on scikit-learn's digits, engines that are made of it, and the evidence after attacks on them.

The engines are simulated: a model in an engine's place, asked for scores alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.attacks.attack import Attack
from harness.attacks.ball import Norm
from harness.attacks.black_box.noise import Noise
from harness.attacks.black_box.square import Square
from harness.attacks.differentiable import Differentiable
from harness.attacks.pgd import PGD
from harness.data import digits
from harness.data.dataset import DataSet, Location, Split
from harness.robustness.arms import LOOP, NOISE, QUERY, TRANSFER, Step, attack_batch
from harness.robustness.decisions import decide
from harness.robustness.engagement import Engagement
from harness.robustness.sanity.check import check
from harness.robustness.sanity.evidence import ArmView, Evidence, probe_of
from harness.robustness.sanity.findings import Rule

Array = npt.NDArray[Any]
Engine = Callable[[Array], Array]

EPSILON = 0.1
PGD_10 = PGD(steps=10, step_size=0.02)


class Net(nn.Module):
    """Two layers and a last step that faults are planted in."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.inner(images)
        return logits


class Then(nn.Module):
    """A model whose logits go through one more function."""

    def __init__(self, model: nn.Module, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.last = model, last

    def forward(self, images: Tensor) -> Tensor:
        """Return what the function makes of the logits."""
        return self.last(self.model(images))


@cache
def data() -> DataSet:
    """Return the digits."""
    if find_spec("sklearn") is None:
        pytest.skip("scikit-learn, which carries the digits, is not installed")
    return digits.find(Location()).read()


@cache
def digit_images(classes: int = 10) -> Split:
    """Return 120 test images of the first classes."""
    test = data().test
    return test.take(np.flatnonzero(test.labels < classes)[:120])


@cache
def trained(classes: int = 10) -> nn.Module:
    """Return the net after a second of training."""
    train = data().train
    rows = train.labels < classes
    images, labels = torch.from_numpy(train.images[rows]), torch.from_numpy(train.labels[rows])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net(classes)
        weights = list(model.parameters())
        velocities = [torch.zeros_like(weight) for weight in weights]
        for _ in range(100):  # by hand: importing torch's optimisers takes longer than all of this
            noisy = (images + 0.1 * torch.randn_like(images).sign()).clamp(0, 1)
            loss = cross_entropy(model(noisy), labels, label_smoothing=0.1)
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, velocity, gradient in zip(weights, velocities, gradients, strict=True):
                    weight.sub_(velocity.mul_(0.9).add_(gradient, alpha=0.2))
    return model.eval().requires_grad_(False)


def engine_of(model: nn.Module) -> Engine:
    """Return a model in an engine's place, simulated."""

    def infer(images: Array) -> Array:
        with torch.no_grad():
            scores: Array = model(torch.from_numpy(np.ascontiguousarray(images))).numpy()
        return scores

    return infer


def engaged(
    engine: Engine,
    source: nn.Module | None,
    *,
    epsilon: float = EPSILON,
    norm: Norm = "linf",
    split: Split | None = None,
) -> Engagement:
    """Return an engine, and the model that is meant to be its own function, before any attack."""
    split = split or digit_images()
    return Engagement(
        infer=engine,
        sources={} if source is None else {"twin": Differentiable(source)},
        split=split,
        clean_decisions=decide(engine(split.images)),
        norm=norm,
        epsilon=epsilon,
        seed=0,
        batch=64,
    )


def attacked(engagement: Engagement, attacks: Sequence[Attack] = (PGD_10,), undefended: float | None = 0.0) -> Evidence:
    """Return the evidence after every arm has run, the arm of queries with few."""
    own = engagement.own
    steps = [Step(arm, attack, own) for arm in (TRANSFER, LOOP) for attack in attacks if own is not None]
    steps += [Step(QUERY, Square(queries=60), None), Step(NOISE, Noise(draws=3), None)]
    outcomes: dict[str, ArmView] = {}
    for step in steps:
        before = outcomes.get(step.arm, ArmView(engagement.clean_decisions))
        decisions = before.decisions.copy()
        found = attack_batch(engagement, step, engagement.right)
        fresh = before.decisions[found.rows] == engagement.split.labels[found.rows]
        decisions[found.rows[fresh]] = found.decisions[fresh]
        outcomes[step.arm] = ArmView(decisions, before.wavering + found.wavering)
    return evidence(engagement, outcomes, attacks, undefended)


def evidence(
    engagement: Engagement,
    outcomes: Mapping[str, ArmView],
    attacks: Sequence[Attack] = (PGD_10,),
    undefended: float | None = 0.0,
) -> Evidence:
    """Return evidence with outcomes that are given."""
    scores = engagement.infer(engagement.split.images)
    return Evidence(engagement, attacks, outcomes, scores, probe_of(engagement), undefended)


@cache
def sound() -> Evidence:
    """Return the evidence of an engine and its own function, attacked as it should be."""
    return attacked(engaged(engine_of(trained()), trained()))


def ruled(evidence: Evidence) -> dict[str, Rule]:
    """Return every rule by its name."""
    return {rule.rule: rule for rule in check(evidence)}
