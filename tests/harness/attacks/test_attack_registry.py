from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError
from harness.attacks.attack import Attack
from harness.attacks.registry import NAMES, SETS, attack, expanded, needs_gradient, settings_of

pytestmark = pytest.mark.core


def test_settings_become_hyper_parameters() -> None:
    from harness.attacks.pgd import PGD

    assert attack("pgd", {}) == PGD()
    settings = {"steps": 7, "step_size": 0.01, "random_start": True, "restarts": 2}
    assert attack("pgd", settings) == PGD(steps=7, step_size=0.01, random_start=True, restarts=2)


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_has_defaults(name: str) -> None:
    assert callable(attack(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_has_the_name_it_is_registered_by_and_says_whether_it_needs_a_gradient(name: str) -> None:
    made = attack(name, {})
    assert made.name == name
    assert needs_gradient(name) == isinstance(made, Attack)


@pytest.mark.parametrize("name", NAMES)
def test_its_settings_make_the_same_attack_again(name: str) -> None:
    made = attack(name, {})
    assert attack(name, settings_of(made)) == made


def test_a_set_stands_for_its_members_each_once() -> None:
    assert expanded(("pgd", "autoattack", "square", "pgd")) == ("pgd", "apgd-ce", "apgd-t", "fab-t", "square")
    for name, members in SETS.items():
        assert name not in NAMES
        assert set(members) <= set(NAMES)


def test_an_unknown_attack_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown attack 'pdg'; did you mean 'pgd'"):
        attack("pdg", {})


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"attack\.pgd has no setting 'stpes'; did you mean 'steps'\? known: steps"):
        attack("pgd", {"stpes": 3})


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": "many"},
        {"steps": 2.5},
        {"step_size": [0.1]},
        {"random_start": "perhaps"},
        {"restarts": None},
        {"step_size": math.nan},
        {"step_size": math.inf},
        {"steps": 0},
    ],
    ids=str,
)
def test_values_of_another_kind_are_refused_with_their_setting(settings: dict[str, Any]) -> None:
    (key,) = settings
    with pytest.raises(InputError, match=rf"attack\.pgd.*{key}"):
        attack("pgd", settings)


def test_checking_settings_needs_no_torch() -> None:
    code = (
        "import sys; from harness.attacks.registry import NAMES, attack; [attack(name, {}) for name in NAMES]; "
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"
