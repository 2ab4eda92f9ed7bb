"""The attacks by name. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any

from contracts.errors import unknown_name
from contracts.settings import from_section
from harness.attacks.attack import Attack, BlackBox

_ATTACKS = {
    "pgd": "harness.attacks.pgd:PGD",
    "fgsm": "harness.attacks.fgsm:FGSM",
    "apgd-ce": "harness.attacks.apgd:APGD",
    "apgd-dlr": "harness.attacks.apgd:APGDDLR",
    "apgd-t": "harness.attacks.apgd:APGDT",
    "fab-t": "harness.attacks.fab:FABT",
    "noise": "harness.attacks.black_box.noise:Noise",
    "square": "harness.attacks.black_box.square:Square",
    "rays": "harness.attacks.black_box.rays:RayS",
}

SETS: Mapping[str, tuple[str, ...]] = {"autoattack": ("apgd-ce", "apgd-t", "fab-t", "square")}
"""Attacks that are run together under one name, in this order: AutoAttack's standard (arXiv 2003.01690)."""

NAMES: tuple[str, ...] = tuple(_ATTACKS)


def expanded(names: Iterable[str]) -> tuple[str, ...]:
    """Return the attacks of these names and sets, each once."""
    return tuple(dict.fromkeys(member for name in names for member in SETS.get(name, (name,))))


def needs_gradient(name: str) -> bool:
    """Say whether an attack needs a differentiable model, torch not being needed to know it.

    Raises:
        InputError: unknown name.
    """
    return bool(_kind(name).needs_gradient)


def attack(name: str, settings: Mapping[str, Any]) -> Attack | BlackBox:
    """Return the attack of that name with its hyper-parameters.

    Args:
        name: a name of the registry.
        settings: the section `attack.<name>` of the experiment file.

    Raises:
        InputError: unknown name or hyper-parameter, or a value of the wrong type.
    """
    made: Attack | BlackBox = from_section(_kind(name), settings, f"attack.{name}")
    return made


def settings_of(made: Attack | BlackBox) -> dict[str, Any]:
    """Return every hyper-parameter of an attack, defaults included."""
    way: Any = made
    return asdict(way)


def _kind(name: str) -> Any:
    if name not in _ATTACKS:
        raise unknown_name("attack", name, NAMES)
    module, _, attribute = _ATTACKS[name].partition(":")
    return getattr(import_module(module), attribute)
