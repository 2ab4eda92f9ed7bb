from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError
from harness.attacks.registry import NAMES, attack

pytestmark = pytest.mark.core


def test_settings_become_hyper_parameters() -> None:
    from harness.attacks.pgd import PGD

    assert attack("pgd", {}) == PGD()
    settings = {"steps": 7, "step_size": 0.01, "random_start": True, "restarts": 2}
    assert attack("pgd", settings) == PGD(steps=7, step_size=0.01, random_start=True, restarts=2)


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_has_defaults(name: str) -> None:
    assert callable(attack(name, {}))


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
    code = "import sys; from harness.attacks.registry import attack; attack('pgd', {}); print('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"
