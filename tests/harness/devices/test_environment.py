from __future__ import annotations

import dataclasses
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.environment import Environment, device_id, environment
from harness.devices.machine import Machine
from reports.document import Environment as DocumentEnvironment

pytestmark = pytest.mark.core

PC = Environment("3.11.7", "Linux", {}, "AMD EPYC", 2, gpu=None, driver=None, jetpack=None, board=None)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "amd-epyc-2-core"),
        ({"cpu": "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz", "cores": 4}, "intel-xeon-platinum-8370c-4-core"),
        ({"cpu": "AMD Ryzen 7 5800X 8-Core Processor", "cores": 16}, "amd-ryzen-7-5800x-16-core"),
        ({"gpu": "NVIDIA H200", "cores": 16}, "nvidia-h200-amd-epyc-16-core"),
        ({"cpu": "ARM Neoverse-N1"}, "arm-neoverse-n1-2-core"),
        ({"board": "NVIDIA Jetson Orin Nano Developer Kit", "gpu": "Orin (nvgpu)"}, "jetson-orin-nano"),
        ({"board": "NVIDIA Jetson AGX Orin Developer Kit"}, "jetson-agx-orin"),
        ({"board": "Raspberry Pi 5 Model B Rev 1.0"}, "raspberry-pi-5-model-b-rev-1-0"),
        ({"simulated": True}, "simulated-amd-epyc-2-core"),
    ],
)
def test_a_device_is_named_by_what_it_is(changes: dict[str, object], name: str) -> None:
    assert device_id(dataclasses.replace(PC, **changes)) == name  # type: ignore[arg-type]


@given(st.text(max_size=200), st.none() | st.text(max_size=200), st.none() | st.text(max_size=200))
def test_a_device_id_is_always_a_safe_file_name(cpu: str, gpu: str | None, board: str | None) -> None:
    name = device_id(dataclasses.replace(PC, cpu=cpu, gpu=gpu, board=board))
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= 80


def test_software_versions_do_not_change_the_device() -> None:
    newer = dataclasses.replace(PC, python="3.13.0", platform="Linux-7", packages={"numpy": "3"}, driver="999")
    assert device_id(newer) == device_id(PC)


def test_this_machine_is_described_the_same_twice_and_fits_the_document() -> None:
    place = environment()
    assert place == environment()
    assert not place.simulated
    assert place.packages["numpy"] and place.packages["edge-robustness-harness"]
    value = json.loads(json.dumps(place.to_json()))
    document = DocumentEnvironment.model_validate(value)
    assert document.cpu == place.cpu and document.packages == place.packages


def test_no_host_name_is_told() -> None:
    told = json.dumps(environment().to_json()) + device_id(environment())
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", told)


def test_describing_a_machine_imports_no_runtime() -> None:
    program = (
        "import sys; from harness.devices.environment import environment; environment();"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert {"torch", "openvino", "onnxruntime", "onnx", "numpy"}.isdisjoint(shown.stdout.split())


def test_an_empty_tree_still_has_a_name(tmp_path: Path) -> None:
    assert device_id(environment(Machine(tmp_path))).startswith("simulated-unknown-")
