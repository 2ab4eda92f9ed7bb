from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from contracts.errors import InputError, MissingDependencyError
from engines.backend import Availability
from engines.registry import NAMES
from harness.devices.clocks import Clock
from harness.devices.jetson import JetsonState
from harness.devices.nvidia import GpuState
from harness.workflow.diagnosis.asking import Answers, Auto
from harness.workflow.diagnosis.diagnosis import diagnose
from harness.workflow.diagnosis.readings import Readings
from tests.harness.workflow.diagnosis.machines import H200, NO_DRIVER, orin, package, pc, state
from tests.harness.workflow.diagnosis.schema import SCHEMA

pytestmark = pytest.mark.core

ALL_KNOWN = pc(
    H200,
    {"tensorrt": state("tensorrt")},
    {"driver": "570.1", "jetpack": "7 (L4T 39.2)", "board": "NVIDIA Jetson AGX Thor"},
    gpu_state=GpuState(41, 1980, "none"),
    board_state=JetsonState("MAXN", 1980, 41, 0),
    cpu_clock=Clock(2000, 1000, 2000, 2000),
    board_gpu_clock=Clock(1980, 1980, 1980, 1980),
    governor="performance",
    temperatures_c={"cpu-thermal": 50.0},
)


@pytest.mark.parametrize("readings", [pc(), orin(), ALL_KNOWN, orin(NO_DRIVER)])
def test_the_json_has_its_schema_and_says_of_every_null_why(readings: Readings) -> None:
    value = json.loads(json.dumps(diagnose(readings).to_json(), allow_nan=False))
    jsonschema.validate(value, SCHEMA)
    assert [backend["name"] for backend in value["backends"]] == list(NAMES)
    for section in ("machine", "gpu", "state"):
        nulls = {key for key, known in value[section].items() if known is None}
        assert nulls == set(value[section]["reasons"])
        assert all(value[section]["reasons"].values())
    for name, found in value["packages"].items():
        assert (found["version"] is None) == (found["reason"] is not None), name


def test_where_all_is_known_and_works_there_is_nothing_to_do() -> None:
    diagnosis = diagnose(ALL_KNOWN)
    assert diagnosis.steps == () == diagnosis.simulated
    assert not any(section.reasons for section in (diagnosis.machine, diagnosis.gpu, diagnosis.state))
    assert diagnosis.gpu.compute_capability == "9.0"
    assert diagnosis.state.temperatures_c == {"cpu-thermal": 50.0, "GPU": 41}
    assert diagnosis.state.held_down == ()


def test_what_holds_the_clocks_down_is_named() -> None:
    readings = orin(
        gpu_state=GpuState(None, None, "software power cap"),
        board_state=JetsonState("15W", 306, 50, 3),
        cpu_clock=Clock(1113.6, 729.6, 1510.4, 1728.0),
        board_gpu_clock=Clock(306, 306, 612, 1020),
    )
    assert diagnose(readings).state.held_down == (
        "the GPU's clocks are held down now: software power cap",
        "the CPU may run at 1510.4 MHz of 1728",
        "the GPU may run at 612 MHz of 1020",
        "the board throttled 3 times since it was started",
    )


def test_a_driver_that_nvml_does_not_tell_is_the_kernels() -> None:
    assert diagnose(pc(kernel_driver="580.65.06")).gpu.driver == "580.65.06"
    unknown = pc(H200, place={"driver": "unknown", "gpu": "NVIDIA H200"}, kernel_driver="580.65.06")
    assert diagnose(unknown).gpu.driver == "580.65.06"
    assert diagnose(replace(unknown, kernel_driver=None)).gpu.driver is None


@pytest.mark.parametrize(
    ("readings", "sees", "words"),
    [
        (pc(H200), None, "not installed"),
        (pc(H200, packages=(package("torch", "2.8.0+cpu", None),)), False, "without CUDA"),
        (pc(packages=(package("torch", "2.8.0", "12.6"),)), False, "driver, is not here"),
        (pc(H200, packages=(package("torch", "2.8.0", "12.9"),)), True, "built for CUDA 12.9"),
        (pc(H200, packages=(package("torch", "2.15.0", "13.2"),)), False, "the driver knows CUDA 12.8"),
    ],
)
def test_whether_torch_sees_the_gpu_follows_from_what_it_was_built_for(
    readings: Readings, sees: bool | None, words: str
) -> None:
    torch = diagnose(readings).torch
    assert torch.sees_gpu is sees
    assert words in torch.reason


def test_a_recorded_tree_and_doubles_are_stamped() -> None:
    recorded = pc(place={"simulated": True})
    assert "recorded tree" in diagnose(recorded).simulated[0]
    doubles = pc(replace(H200, name="simulated GPU 8.9"), {"tensorrt": state("tensorrt", simulated=True)})
    assert diagnose(doubles).simulated == (
        "a double stands in for the NVIDIA driver",
        "a double stands in for the runtime of tensorrt",
    )


def test_a_backend_that_works_is_let_through() -> None:
    diagnosis = diagnose(pc())
    diagnosis.require("openvino", "int8")
    diagnosis.require("auto")


@pytest.mark.parametrize(
    ("name", "precision", "sentence"),
    [
        ("tensorrt", None, "backend tensorrt does not build here: tensorrt does not import .*; install it with: pip"),
        ("tensorrt-rtx", None, "backend tensorrt-rtx does not run here: libcuda.so.1, .*; install the NVIDIA driver"),
        ("tensorrt-rtx", "int8", r"backend tensorrt-rtx \(int8\) does not run here"),
    ],
)
def test_one_that_does_not_is_refused_with_what_mends_it(name: str, precision: str | None, sentence: str) -> None:
    with pytest.raises(MissingDependencyError, match=sentence):
        diagnose(pc()).require(name, precision)


def test_a_precision_that_is_missing_here_is_refused_alone() -> None:
    no_bf16 = Availability(False, "this CPU has FP32, INT8", "use fp32 or int8 on this machine")
    openvino = state("openvino")
    openvino = replace(openvino, precisions={**openvino.precisions, "bf16": no_bf16})
    diagnosis = diagnose(pc(states={"openvino": openvino}))
    diagnosis.require("openvino")
    with pytest.raises(MissingDependencyError, match=r"openvino \(bf16\) does not build here: this CPU has FP32, INT8"):
        diagnosis.require("openvino", "bf16")
    assert not [step for step in diagnosis.steps if step.about == "openvino"], "nothing installs another CPU"


@pytest.mark.parametrize(("name", "precision"), [("tensorflow", None), ("openvino", "fp16"), ("auto", "fp17")])
def test_a_name_that_is_none_is_wrong_input(name: str, precision: str | None) -> None:
    with pytest.raises(InputError):
        diagnose(pc()).require(name, precision)


def test_auto_that_cannot_be_told_is_no_backend() -> None:
    answers = pc().answers
    crashed = pc(answers=Answers(answers.backends, Auto(None, "the choice crashes"), answers.gpu))
    with pytest.raises(MissingDependencyError, match="what backend auto takes here: the choice crashes"):
        diagnose(crashed).require("auto")


def values(found: Any) -> Iterator[Any]:
    """Yield every value of a JSON value."""
    yield found
    for part in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from values(part)


def test_no_value_is_a_stand_in_for_one_that_is_missing() -> None:
    told = list(values(diagnose(pc()).to_json()))
    assert 0 not in [each for each in told if isinstance(each, float | int) and not isinstance(each, bool)]
    assert "unknown" not in told
