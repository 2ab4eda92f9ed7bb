from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.tensorrt.binding_names import IN_DETAIL, argument, parts, signature

pytestmark = pytest.mark.core

RECORDED = Path(__file__).parent / "recorded"
TENSORRT = ("8.6.1", "10.3.0", "10.13.3", "10.16.1", "11.4.0")
RTX = "rtx-1.7.1"
VERSIONS = (*TENSORRT, RTX)
NOT_IN_ALL = {"IRuntimeConfig", "IRuntimeCache", "IProgressMonitor", "ISerializationConfig"}


def record(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{version}.json").read_text())
    return found


def enum(version: str, name: str) -> dict[str, int]:
    values: dict[str, int] = record(version)["classes"][name]["enum"]
    return values


def members(version: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = record(version)["classes"][name]["members"]
    return found


def test_every_record_belongs_to_a_version() -> None:
    assert {path.stem for path in RECORDED.iterdir()} == set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_is_whole(version: str) -> None:
    found = record(version)
    assert (RECORDED / f"{version}.json").stat().st_size < 150_000
    assert found["module"] == ("tensorrt_rtx" if version == RTX else "tensorrt")
    assert found["version"].startswith(version.removeprefix("rtx-"))
    assert set(IN_DETAIL.split()) - NOT_IN_ALL <= set(found["classes"])
    assert not set(found["classes"]) & set(found["other_classes"])
    for name, cls in found["classes"].items():
        assert set(cls.get("bases", [])) <= {*found["classes"], *found["other_classes"]}
        for member, described in cls.get("members", {}).items():
            if described["kind"] == "method" and member != "__init__":  # an empty one: cannot be constructed
                assert described["signatures"], f"{name}.{member} has no signature"
            if described["kind"] == "enum value":
                assert found["classes"][described["class"]]["enum"][described["name"]] == described["value"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_way_every_version_offers_is_recorded(version: str) -> None:
    assert {"num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_dtype"} <= set(
        members(version, "ICudaEngine")
    )
    assert {"set_input_shape", "set_tensor_address", "execute_async_v3"} <= set(members(version, "IExecutionContext"))
    assert {"set_memory_pool_limit", "set_timing_cache"} <= set(members(version, "IBuilderConfig"))
    assert "build_serialized_network" in members(version, "Builder")


def test_precision_flags_are_gone_in_11_and_never_were_in_rtx() -> None:
    assert {version for version in VERSIONS if {"FP16", "INT8"} <= set(enum(version, "BuilderFlag"))} == set(
        TENSORRT[:-1]
    )
    assert {version for version in VERSIONS if "FP16" in enum(version, "BuilderFlag")} == set(TENSORRT[:-1])
    assert "BF16" not in enum("8.6.1", "BuilderFlag")


def test_the_bits_of_network_flags_moved() -> None:
    flags = {version: enum(version, "NetworkDefinitionCreationFlag") for version in VERSIONS}
    assert flags["8.6.1"]["EXPLICIT_BATCH"] == 0
    assert "STRONGLY_TYPED" not in flags["8.6.1"]
    assert {flags[version]["STRONGLY_TYPED"] for version in TENSORRT[1:-1]} == {1}
    assert flags["11.4.0"]["STRONGLY_TYPED"] == 0
    assert flags["11.4.0"]["PREFER_JIT_PYTHON_PLUGINS"] == 1
    assert "EXPLICIT_BATCH" not in flags["11.4.0"]


@pytest.mark.parametrize(
    ("cls", "member", "versions"),
    [
        ("ICudaEngine", "num_bindings", {"8.6.1"}),
        ("ICudaEngine", "device_memory_size", set(TENSORRT[:-1])),
        ("ICudaEngine", "device_memory_size_v2", {*TENSORRT[1:], RTX}),
        ("Builder", "platform_has_fast_int8", set(TENSORRT[:-1])),
        ("ParserError", "node_name", {*TENSORRT[1:], RTX}),
        ("IBuilderConfig", "progress_monitor", {*TENSORRT[1:], RTX}),
        ("IBuilderConfig", "set_compute_capability", {RTX}),
        ("IBuilderConfig", "max_workspace_size", {"8.6.1"}),
    ],
)
def test_names_came_and_went(cls: str, member: str, versions: set[str]) -> None:
    assert {version for version in VERSIONS if member in members(version, cls)} == versions


def test_compute_capabilities_of_rtx() -> None:
    assert set(enum(RTX, "ComputeCapability")) == {"NONE", "CURRENT", "SM75", "SM80", "SM86", "SM89", "SM120", "SM121"}


def test_signatures_are_read_with_types_and_defaults() -> None:
    arguments = "self: A.B, x: Callable[[int, str], None], at: S = <S.OFF: 0>, path: str = 'a, b', *args"
    assert signature(f"1. f({arguments}) -> Tuple[int, str]") == {
        "arguments": [
            ["self", "A.B"],
            ["x", "Callable[[int, str], None]"],
            ["at", "S", "<S.OFF: 0>"],
            ["path", "str", "'a, b'"],
            ["*args", ""],
        ],
        "returns": "Tuple[int, str]",
    }
    assert signature("Add a flag.") is None
    assert argument("flags: int = 0") == ["flags", "int", "0"]
    assert list(parts("f: Callable[[A], None] -> B, c")) == ["f: Callable[[A], None] -> B", "c"]
