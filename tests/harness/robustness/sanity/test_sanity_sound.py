"""Where nothing is wrong no rule says so; and what cannot be judged is told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from harness.attacks.apgd import APGD, APGDT
from harness.attacks.pgd import PGD
from harness.robustness.sanity.check import RULES, check
from harness.robustness.sanity.evidence import ArmView, Evidence, probe_of
from tests.harness.robustness.sanity.digit_engines import (
    attacked,
    digit_images,
    engaged,
    engine_of,
    evidence,
    sound,
    trained,
)


def test_every_rule_holds_for_a_sound_engine() -> None:
    rules = check(sound())
    assert len(rules) == len(RULES) == 16
    assert [rule for rule in rules if rule.held is not True] == []
    assert len({rule.rule for rule in rules}) == len(rules)
    assert all(rule.told for rule in rules)


def test_every_rule_holds_in_l2() -> None:
    engagement = engaged(engine_of(trained()), trained(), norm="l2", epsilon=0.5)
    assert [rule for rule in check(attacked(engagement, [PGD(steps=20)])) if rule.held is not True] == []


def test_every_rule_holds_for_auto_pgd() -> None:
    engagement = engaged(engine_of(trained()), trained())
    found = attacked(engagement, [APGD(steps=20), APGDT(steps=10, targets=2)])
    assert [rule for rule in check(found) if rule.held is not True] == []
    assert found.extra.attack == APGD(steps=20)


def test_without_gradients_what_needs_them_is_not_judged() -> None:
    found = attacked(engaged(engine_of(trained()), None), undefended=None)
    rules = check(found)
    assert not any(rule.held is False for rule in rules)
    unjudged = [rule for rule in rules if rule.held is None]
    assert len(unjudged) == 9
    assert sum(rule.told == "no model with gradients is at hand" for rule in unjudged) == 7


def test_an_engine_that_gets_nothing_right_is_told() -> None:
    decided = sound().engagement.clean_decisions
    engagement = engaged(engine_of(trained()), trained(), split=replace(digit_images(), labels=(decided + 1) % 10))
    found = check(evidence(engagement, {"loop": ArmView(decided)}))
    assert any("gets no image right" in rule.told for rule in found)
    assert not any(rule.held is False for rule in found)


def test_the_probe_is_spread_over_the_right_images() -> None:
    engagement = sound().engagement
    probe = probe_of(engagement, 10)
    assert len(probe) == 10
    assert set(probe) <= set(engagement.right)
    assert (probe[0], probe[-1]) == (engagement.right[0], engagement.right[-1])
    assert probe_of(engagement, 1000).tolist() == engagement.right.tolist()


def test_evidence_is_gathered_from_arms() -> None:
    class Ended:
        name, wavering = "noise", 2
        decisions = sound().engagement.clean_decisions

    found = Evidence.gathered(sound().engagement, (), [Ended()], 0.25)
    assert (found.clean_scores == sound().clean_scores).all()
    assert found.outcomes["noise"].wavering == 2
    assert found.undefended == 0.25
    assert len(found.probe) == 100


def test_the_extra_attack_is_what_was_asked_for() -> None:
    asked = [APGDT(), PGD(steps=7, restarts=3)]
    assert replace(sound(), attacks=asked).extra.attack == PGD(steps=7)
    assert replace(sound(), attacks=[APGDT()]).extra.attack == APGD()


def test_rules_run_again_say_the_same() -> None:
    assert check(replace(sound())) == check(sound())


def test_rules_for_queries_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np\n"
        "from harness.data.dataset import Split\n"
        "from harness.robustness.engagement import Engagement\n"
        "from harness.robustness.sanity.check import check\n"
        "from harness.robustness.sanity.evidence import ArmView, Evidence\n"
        "infer = lambda images: np.stack([images.mean((1, 2, 3)), 0 * images.mean((1, 2, 3)) + .5], 1)\n"
        "split = Split(np.linspace(0, 1, 8, dtype=np.float32).reshape(8, 1, 1, 1), np.array([1] * 4 + [0] * 4))\n"
        "engagement = Engagement(infer, {}, split, split.labels, 'linf', 0.1, 0, 4)\n"
        "class Arm: name, wavering, decisions = 'query', 0, split.labels\n"
        "print([rule.held for rule in check(Evidence.gathered(engagement, (), [Arm]))].count(True))"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert int(done.stdout) == 6
