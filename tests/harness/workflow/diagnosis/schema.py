"""What `harness doctor --json` prints, as a JSON Schema: the keys that users' scripts lean on."""

from __future__ import annotations

from typing import Any

from engines.registry import NAMES
from harness.devices.installed import GPU_PACKAGES

TEXT, NUMBER, FLAG = {"type": "string", "minLength": 1}, {"type": "number"}, {"type": "boolean"}


def null_or(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of a value that may not be known."""
    return {"anyOf": [schema, {"type": "null"}]}


def closed(**properties: Any) -> dict[str, Any]:
    """Return a schema of an object that has these keys and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def by_name(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of an object whose values are alike."""
    return {"type": "object", "additionalProperties": schema}


def several(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of an array."""
    return {"type": "array", "items": schema}


REASONS = by_name(TEXT)
AVAILABILITY = {
    "oneOf": [
        closed(usable={"const": True}, reason={"const": ""}, remedy={"const": ""}),
        closed(usable={"const": False}, reason=TEXT, remedy=TEXT),
    ]
}
PACKAGE = closed(version=null_or(TEXT), cuda=null_or(TEXT), reason=null_or(TEXT))

SCHEMA = closed(
    schema_version={"const": 1},
    simulated=several(TEXT),
    machine=closed(
        operating_system=null_or(TEXT),
        platform=TEXT,
        cpu=TEXT,
        cores={"type": "integer", "minimum": 1},
        memory_bytes=null_or(NUMBER),
        python=TEXT,
        virtual_environment=null_or(TEXT),
        sees_system_packages=FLAG,
        board=null_or(TEXT),
        jetpack=null_or(TEXT),
        reasons=REASONS,
    ),
    gpu=closed(
        name=null_or(TEXT),
        compute_capability=null_or({"type": "string", "pattern": r"^\d+\.\d+$"}),
        memory_bytes=null_or(NUMBER),
        driver=null_or(TEXT),
        cuda_version=null_or({"type": "string", "pattern": r"^\d+\.\d+$"}),
        reasons=REASONS,
    ),
    state=closed(
        power_mode=null_or(TEXT),
        governor=null_or(TEXT),
        cpu_clock_mhz=null_or(NUMBER),
        cpu_highest_mhz=null_or(NUMBER),
        cpu_possible_mhz=null_or(NUMBER),
        gpu_clock_mhz=null_or(NUMBER),
        gpu_lowest_mhz=null_or(NUMBER),
        gpu_highest_mhz=null_or(NUMBER),
        gpu_possible_mhz=null_or(NUMBER),
        temperatures_c=null_or(by_name(NUMBER)),
        held_down=null_or(several(TEXT)),
        reasons=REASONS,
    ),
    packages=closed(**dict.fromkeys(GPU_PACKAGES, PACKAGE)),
    torch=closed(sees_gpu=null_or(FLAG), reason=TEXT),
    backends=several(
        closed(
            name={"enum": list(NAMES)},
            version=null_or(TEXT),
            simulated=FLAG,
            builds=AVAILABILITY,
            precisions=by_name(AVAILABILITY),
            runs=AVAILABILITY,
        )
    ),
    auto=closed(backend=null_or({"enum": list(NAMES)}), reason=TEXT),
    steps=several(closed(kind={"enum": ["mend", "add", "steady", "elsewhere"]}, about=TEXT, reason=TEXT, remedy=TEXT)),
)
