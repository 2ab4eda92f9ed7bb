from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock, create_autospec

import pynvml
import pytest

from contracts.errors import InputError
from harness.devices import nvidia

pytestmark = pytest.mark.core


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, MagicMock]]:
    """NVML of a machine with one H200, by the real functions' signatures."""
    answers = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetHandleByUUID": "handle",
        "nvmlDeviceGetName": "NVIDIA H200",
        "nvmlSystemGetDriverVersion": "580.65.06",
        "nvmlDeviceGetTemperature": 41,
        "nvmlDeviceGetClockInfo": 1980,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x1,
        "nvmlDeviceGetViolationStatus": MagicMock(violationTime=7),
        "nvmlDeviceGetMemoryInfo": MagicMock(used=5 << 30),
        "nvmlDeviceGetComputeRunningProcesses": [MagicMock(pid=12, usedGpuMemory=1 << 20)],
        "nvmlDeviceGetTotalEnergyConsumption": 3000,
        "nvmlDeviceGetPowerUsage": 70000,
    }
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    mocks = {name: create_autospec(getattr(pynvml, name), return_value=answer) for name, answer in answers.items()}
    for name, mock in mocks.items():
        monkeypatch.setattr(pynvml, name, mock)
    nvidia._opened.cache_clear()
    yield mocks
    nvidia._opened.cache_clear()


def test_every_question_has_an_answer_in_plain_json(nvml: dict[str, MagicMock]) -> None:
    found = {question: nvidia.ask_driver(question) for question in nvidia.QUESTIONS}
    assert json.loads(json.dumps(found)) == found
    assert (found["used_bytes"], found["processes"], found["energy_mj"]) == (5 << 30, [[12, 1 << 20]], 3000)
    assert nvml["nvmlInit"].call_count == 1  # it stays open: opening takes longer than asking


def test_a_gpu_is_named_and_read(nvml: dict[str, MagicMock]) -> None:
    assert nvidia.find_gpu(nvidia.ask_driver) == nvidia.Gpu("NVIDIA H200", "580.65.06")
    assert nvidia.read_gpu(nvidia.ask_driver) == nvidia.GpuState(41, 1980, "none")


def test_old_bindings_answer_in_bytes(nvml: dict[str, MagicMock]) -> None:
    nvml["nvmlDeviceGetName"].return_value = b"Tesla T4"
    gpu = nvidia.find_gpu(nvidia.ask_driver)
    assert gpu is not None and gpu.name == "Tesla T4"


def test_without_a_driver_there_is_no_gpu(nvml: dict[str, MagicMock]) -> None:
    nvml["nvmlInit"].side_effect = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert nvidia.find_gpu(nvidia.ask_driver) is None
    assert nvidia.read_gpu(nvidia.ask_driver) == nvidia.GpuState(None, None, None)


def test_on_a_jetson_nvml_names_the_gpu_and_answers_little_else(nvml: dict[str, MagicMock]) -> None:
    unsupported = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    nvml["nvmlDeviceGetName"].return_value = "Orin (nvgpu)"
    for name, mock in nvml.items():
        if name.startswith("nvmlDeviceGet") and name not in ("nvmlDeviceGetName", "nvmlDeviceGetHandleByIndex"):
            mock.side_effect = unsupported
    gpu = nvidia.find_gpu(nvidia.ask_driver)
    assert gpu is not None and gpu.name == "Orin (nvgpu)"
    assert {nvidia.ask_driver(question) for question in set(nvidia.QUESTIONS) - {"name", "driver"}} == {None}


@pytest.mark.parametrize(
    ("visible", "function", "argument"),
    [
        ("2,3", "nvmlDeviceGetHandleByIndex", 2),
        ("GPU-1234", "nvmlDeviceGetHandleByUUID", "GPU-1234"),
        (None, "nvmlDeviceGetHandleByIndex", 0),
    ],
)
def test_the_gpu_is_the_first_that_cuda_sees(
    nvml: dict[str, MagicMock], monkeypatch: pytest.MonkeyPatch, visible: str | None, function: str, argument: object
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvidia.find_gpu(nvidia.ask_driver)
    nvml[function].assert_called_once_with(argument)


def test_a_hidden_gpu_is_none(nvml: dict[str, MagicMock], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert nvidia.find_gpu(nvidia.ask_driver) is None


def test_a_record_answers_in_the_drivers_place(tmp_path: Path) -> None:
    assert nvidia.find_gpu(nvidia.ask_record(tmp_path)) is None
    (tmp_path / nvidia.RECORDED).write_text(json.dumps({"name": "Orin (nvgpu)", "driver": "540.4.0"}))
    ask = nvidia.ask_record(tmp_path)
    assert nvidia.find_gpu(ask) == nvidia.Gpu("Orin (nvgpu)", "540.4.0")
    assert ask("energy_mj") is None
    (tmp_path / nvidia.RECORDED).write_text("[]")
    with pytest.raises(InputError, match="record the machine again"):
        nvidia.ask_record(tmp_path)


@pytest.mark.parametrize(
    ("bits", "names"),
    [(0x0, "none"), (0x1, "none"), (0x4, "software power cap"), (0x49, "hardware slowdown, hardware thermal slowdown")],
)
def test_an_idle_gpu_is_not_held_back(bits: int, names: str) -> None:
    assert nvidia.throttle_names(bits) == names
