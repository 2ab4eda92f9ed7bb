"""Simulated TensorRT: doubles of its Python modules that own exactly the names recorded from the real bindings.

Nothing here is TensorRT: graphs run in ONNX Runtime, times mean nothing, and every module says `__simulated__ = True`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.engines.tensorrt.simulated import (
    builder,
    configuration,
    context,
    engine,
    foundations,
    inspector,
    listeners,
    network,
    parser,
)
from tests.engines.tensorrt.simulated.recorded_classes import enum, not_simulated, placeholder, recorded_class
from tests.engines.tensorrt.simulated.signatures import chosen

__all__ = ["VERSIONS", "install", "module"]

RECORDED = Path(__file__).resolve().parents[1] / "recorded"
VERSIONS = ("8.6.1", "10.3.0", "10.13.3", "10.16.1", "11.4.0", "rtx-1.7.1")
BEHAVIOURS: dict[str, type] = {
    **foundations.BEHAVIOURS,
    **listeners.BEHAVIOURS,
    **network.BEHAVIOURS,
    **parser.BEHAVIOURS,
    **configuration.BEHAVIOURS,
    **builder.BEHAVIOURS,
    **engine.BEHAVIOURS,
    **context.BEHAVIOURS,
    **inspector.BEHAVIOURS,
}


class Unknown:
    """The behaviour of a class that the simulation does not have: none."""

    def _begin(self, **_: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} is TensorRT's, but the simulation does not have it")


@cache
def module(version: str) -> ModuleType:
    """Return the double of TensorRT `version`, one of `VERSIONS`; a version has one double in a process."""
    record = json.loads((RECORDED / f"{version}.json").read_text())
    made = ModuleType(record["module"], f"Simulated TensorRT {record['version']}")
    vars(made).update(__version__=record["version"], __simulated__=True)
    classes = record["classes"]
    for name, described in classes.items():
        if "enum" in described:
            vars(made)[name] = enum(name, described, made)
    for name, described in classes.items():
        if "enum" not in described:
            behaviour = BEHAVIOURS.get(name, Unknown)
            known = tuple(vars(made)[base] for base in described["bases"] if base in classes)
            bases = known or getattr(behaviour, "_bases", ())
            vars(made)[name] = recorded_class(name, described, behaviour, bases, made)
    for name in record["other_classes"]:
        vars(made)[name] = placeholder(name, made)
    for name, described in record["attributes"].items():
        vars(made)[name] = _attribute(name, described, made)
    for name in [name for name in vars(made) if "." in name]:
        delattr(made, name)
    made.DataType.itemsize = property(foundations.itemsize)
    return made


def _attribute(name: str, described: dict[str, Any], made: ModuleType) -> Any:
    if described["kind"] == "enum value":
        return vars(made)[described["class"]].__members__[described["name"]]
    if described["kind"] != "method":
        return described["value"]
    behaviour = foundations.FUNCTIONS.get(name, not_simulated(name))

    def call(*given: Any, **named: Any) -> Any:
        return behaviour(made, **chosen(made, name, described["signatures"], given, named))

    call.__name__ = name
    return call


@contextlib.contextmanager
def install(version: str) -> Iterator[ModuleType]:
    """Put the double in `sys.modules` under its import name (`tensorrt` or `tensorrt_rtx`); what was there returns."""
    made = module(version)
    before = sys.modules.get(made.__name__)
    sys.modules[made.__name__] = made
    try:
        yield made
    finally:
        if before is None:
            del sys.modules[made.__name__]
        else:
            sys.modules[made.__name__] = before
