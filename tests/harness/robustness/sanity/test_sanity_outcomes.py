"""Rules about radii, steps and arms against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from contracts.errors import InputError
from harness.attacks.pgd import PGD
from harness.robustness.sanity.evidence import ArmView
from harness.robustness.sanity.findings import Rule
from tests.harness.robustness.sanity.digit_engines import (
    EPSILON,
    PGD_10,
    Then,
    attacked,
    digit_images,
    engaged,
    engine_of,
    evidence,
    ruled,
    sound,
    trained,
)

UNIT = "epsilon is in units of the pixel range"


def after(**arms: ArmView) -> dict[str, Rule]:
    """Return the rules for the sound engine with some arms' outcomes replaced."""
    return ruled(replace(sound(), outcomes={**sound().outcomes, **arms}))


def turned(count: int, *, away_from: str | None = None) -> ArmView:
    """Return an arm that turned so many images, none that another arm did."""
    engagement = sound().engagement
    rows = engagement.right
    if away_from is not None:
        rows = np.flatnonzero((engagement.clean_decisions == engagement.split.labels) & ~sound().turned(away_from))
    decisions = engagement.clean_decisions.copy()
    decisions[rows[:count]] = (decisions[rows[:count]] + 1) % 10
    return ArmView(decisions)


@pytest.mark.parametrize("epsilon", [EPSILON / 255, 0.5, 1.0])
def test_an_epsilon_in_another_unit_is_told(epsilon: float) -> None:
    engagement = engaged(engine_of(trained()), trained(), epsilon=epsilon)
    found = ruled(attacked(engagement, [PGD(steps=5)]))[UNIT]
    assert found.held is False
    assert "as a fraction of the pixel range" in found.told
    assert ruled(sound())[UNIT].held is True


def test_an_l2_radius_beyond_half_of_the_diagonal_is_told() -> None:
    for epsilon, held in ((3.9, True), (4.0, False)):
        engagement = engaged(engine_of(trained()), trained(), norm="l2", epsilon=epsilon)
        assert ruled(attacked(engagement, [PGD(steps=5)]))[UNIT].held is held


def test_levels_are_refused_as_a_radius() -> None:
    engagement = engaged(engine_of(trained()), trained(), epsilon=8)
    with pytest.raises(InputError, match=r"8/255"):
        attacked(engagement)


def test_an_epsilon_that_nothing_feels_is_told() -> None:
    engagement = engaged(engine_of(trained()), trained(), epsilon=0.005)
    nothing = ArmView(engagement.clean_decisions)
    found = ruled(evidence(engagement, {"loop": nothing}))[UNIT]
    assert found.held is False
    assert "100 of 100 images at epsilon 0.5" in found.told


def test_an_undefended_model_that_stands_is_told() -> None:
    rule = "an undefended model falls"
    assert ruled(replace(sound(), undefended=sound().robust / 2))[rule].held is None
    found = ruled(replace(sound(), undefended=sound().robust + 0.1))[rule]
    assert found.held is False
    assert "no less than the engine's" in found.told
    assert ruled(replace(sound(), undefended=0.05))[rule].held is True
    assert ruled(replace(sound(), undefended=None))[rule].held is None
    tiny = replace(sound(), undefended=0.9, engagement=replace(sound().engagement, epsilon=0.003))
    assert ruled(tiny)[rule].held is None


def test_too_few_steps_are_told() -> None:
    rules = ruled(attacked(sound().engagement, [PGD(steps=4, step_size=0.01)]))
    assert rules["doubling the steps changes nothing"].held is False
    assert "set more steps" in rules["doubling the steps changes nothing"].told
    assert rules["one step finds less than many"].held is False
    assert rules["queries find less than gradients"].held is False


def test_an_attack_that_loses_its_way_in_a_large_ball_is_told() -> None:
    # The engine answers as for the clean image wherever an image was moved by more than 0.07.
    clean = torch.from_numpy(digit_images().images)

    def near_only(images: Tensor) -> Tensor:
        distances = (images[:, None] - clean[None]).abs().flatten(2).amax(2)
        nearest = distances.min(1)
        return torch.where((nearest.values > 0.07)[:, None], trained()(clean[nearest.indices]), trained()(images))

    class NearOnly(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            """Return logits."""
            return near_only(images)

    one_step_to_the_edge = PGD(steps=1, step_size=EPSILON)
    rules = ruled(attacked(engaged(engine_of(NearOnly()), trained()), [one_step_to_the_edge]))
    found = rules["a larger epsilon turns more"]
    assert found.held is False
    assert "loses its way" in found.told


def test_what_queries_find_alone_is_told() -> None:
    rule = "queries find less than gradients"
    found = after(query=turned(5, away_from="loop"), transfer=turned(0))[rule]
    assert found.held is False
    assert "queries alone turned 5" in found.told
    assert after(query=turned(1, away_from="loop"), transfer=turned(0))[rule].held is True


def test_noise_that_finds_more_than_an_attack_is_told() -> None:
    rule = "random noise finds least"
    found = after(noise=turned(22))[rule]
    assert found.held is False
    assert "the arm query" in found.told
    assert after(noise=turned(1))[rule].held is True


def test_accuracy_that_rises_under_attack_is_told() -> None:
    labels = digit_images().labels
    rule = "attacks do not raise accuracy"
    found = after(loop=ArmView(labels))[rule]
    assert found.held is False
    assert "100.00% after the arm loop" in found.told


def test_an_engine_that_changed_since_its_clean_pass_is_told() -> None:
    rule = "attacks do not raise accuracy"
    rolled = sound().clean_scores.copy()
    rolled[:3] = np.roll(rolled[:3], 1, axis=1)
    found = ruled(replace(sound(), clean_scores=rolled))[rule]
    assert found.held is False
    assert "with 3 other decisions" in found.told
    rolled[1:3] = sound().clean_scores[1:3]
    assert ruled(replace(sound(), clean_scores=rolled))[rule].held is True, "one image may lie on the boundary"
    broken = np.zeros_like(rolled)
    assert ruled(replace(sound(), clean_scores=broken))[rule].held is False


def test_an_engine_that_wavers_is_told() -> None:
    rule = "the final pass decides as the attack saw it"
    found = after(noise=ArmView(sound().outcomes["noise"].decisions, 3))[rule]
    assert found.held is False
    assert "3 images" in found.told
    assert "3 in noise" in found.told


def test_a_source_without_a_way_to_the_engine_fails_at_any_radius() -> None:
    backwards = Then(trained(), lambda logits: -logits)
    rules = ruled(attacked(engaged(engine_of(trained()), backwards), [PGD_10]))
    assert rules["a large epsilon turns everything"].held is False
    assert rules["gradients are of the engine's own function"].held is False
