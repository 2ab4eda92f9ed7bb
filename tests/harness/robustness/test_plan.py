"""Which attacks run in which arm."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.attacks.registry import attack, expanded
from harness.robustness.arms import ARMS
from harness.robustness.plan import Plan, plan

pytestmark = pytest.mark.core

BOTH = ("float", "twin")
DEFAULT = ("transfer", "loop")


def planned(arms: Sequence[str], attacks: Sequence[str], sources: Sequence[str] = BOTH) -> Plan:
    return plan(arms, expanded(attacks), lambda name: attack(name, {}), sources, "no gradients are here")


def told(found: Plan) -> list[str]:
    return [f"{step.arm}: {step.title}" for step in found.steps]


def arms_of(found: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(step.arm for step in found.steps))


def test_pgd_is_transferred_from_every_source_and_loops_along_the_engines_own() -> None:
    found = planned(DEFAULT, ["pgd"])
    assert told(found) == ["transfer: pgd on float", "transfer: pgd on twin", "loop: pgd on twin"]
    assert (arms_of(found), found.skipped) == (DEFAULT, {})


def test_one_source_is_the_engines_own() -> None:
    assert told(planned(DEFAULT, ["pgd"], ["float"])) == ["transfer: pgd on float", "loop: pgd on float"]


def test_autoattack_is_shared_out_and_its_square_asks_the_engine() -> None:
    found = planned(DEFAULT, ["autoattack"])
    climbing = ["apgd-ce", "apgd-t"]
    assert told(found) == [
        *(f"transfer: {name} on float" for name in climbing),
        *(f"transfer: {name} on twin" for name in climbing),
        *(f"loop: {name} on twin" for name in (*climbing, "fab-t")),
        "query: square",
    ]
    assert arms_of(found) == ("transfer", "loop", "query")
    assert found.skipped == {}


def test_what_seeks_the_nearest_point_follows_the_engines_own_function_once() -> None:
    assert told(planned(["transfer"], ["fab-t"])) == ["transfer: fab-t on twin"]
    found = planned(DEFAULT, ["fab-t"])
    assert told(found) == ["loop: fab-t on twin"]
    assert found.skipped == {"transfer": "fab-t seeks the nearest point once, in the arm loop"}


def test_an_attack_that_only_asks_has_its_arm_whatever_the_arms_are() -> None:
    found = planned(DEFAULT, ["square"])
    assert told(found) == ["query: square"]
    assert set(found.skipped) == set(DEFAULT)
    for reason in found.skipped.values():
        assert reason == "square follows no gradient: it asks the engine in an arm of its own"


@pytest.mark.parametrize(
    ("attacks", "steps"),
    [
        (["pgd"], ["query: square", "query: rays"]),
        (["square"], ["query: square", "query: rays"]),
        (["rays"], ["query: rays"]),
        (["rays", "square"], ["query: rays", "query: square"]),
        (["noise"], ["query: square", "query: rays", "noise: noise"]),
    ],
)
def test_the_arm_of_queries_asks_for_decisions_alone_too(attacks: list[str], steps: list[str]) -> None:
    assert told(planned(["query"], attacks)) == steps


def test_noise_is_a_control_of_its_own_and_one_that_is_named_runs() -> None:
    assert told(planned(["noise"], ["pgd"])) == ["noise: noise"]
    assert told(planned(["loop"], ["noise", "pgd"])) == ["loop: pgd on twin", "noise: noise"]


def test_arms_run_in_their_own_order_however_they_are_named() -> None:
    assert arms_of(planned(ARMS[::-1], ["pgd"])) == ARMS


def test_without_sources_the_arms_along_gradients_are_skipped_with_the_reason() -> None:
    found = planned(ARMS, ["pgd"], [])
    assert told(found) == ["query: square", "query: rays", "noise: noise"]
    assert found.skipped == dict.fromkeys(DEFAULT, "no gradients are here")


def test_there_may_be_nothing_to_run_at_all() -> None:
    found = planned(DEFAULT, ["pgd"], [])
    assert (found.steps, arms_of(found)) == ((), ())
    assert found.skipped == dict.fromkeys(DEFAULT, "no gradients are here")


def test_the_settings_of_the_experiment_reach_every_arm() -> None:
    settings = {"pgd": {"steps": 3}, "rays": {"queries": 7}, "noise": {"draws": 2}, "square": {"queries": 5}}
    found = plan(ARMS, ["pgd"], lambda name: attack(name, settings[name]), BOTH)
    made = {step.attack.name: step.attack for step in found.steps}
    assert made == {name: attack(name, given) for name, given in settings.items()}
