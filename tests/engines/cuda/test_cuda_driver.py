from __future__ import annotations

from pathlib import Path

import pytest

from engines.cuda.driver import Gpu, NoGpu, find_gpu
from tests.engines.cuda.simulated_driver import run_python

pytestmark = pytest.mark.core

ASK = "from engines.cuda.driver import find_gpu; print(find_gpu())"


def test_a_gpu_is_described(simulated_libcuda: Path) -> None:
    settings = {
        "SIMULATED_COMPUTE_CAPABILITY": "8.7",
        "SIMULATED_CUDA_VERSION": "12.6",
        "SIMULATED_MEMORY_BYTES": "8000000000",
    }
    expected = Gpu("simulated GPU 8.7", (8, 7), 4, 8_000_000_000, "12.6")
    assert run_python(simulated_libcuda, "-c", ASK, settings=settings).strip() == str(expected)


@pytest.mark.parametrize(
    ("settings", "reason", "remedy"),
    [
        ({"SIMULATED_DEVICES": "0"}, "cuInit answered CUDA_ERROR_NO_DEVICE", "nvidia-smi -L"),
        ({"SIMULATED_CUINIT": "803"}, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "restart the machine"),
        ({"SIMULATED_CUINIT": "999"}, "CUDA_ERROR_UNKNOWN", "run `nvidia-smi`"),
        ({"SIMULATED_CUINIT": "987"}, "CUDA error 987", "run `nvidia-smi`"),
        ({"SIMULATED_DEVICES": "0", "CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES is ''", "unset CUDA_VISIBLE"),
    ],
)
def test_no_gpu_has_a_reason_and_a_remedy(
    simulated_libcuda: Path, settings: dict[str, str], reason: str, remedy: str
) -> None:
    said = run_python(simulated_libcuda, "-c", ASK, settings=settings)
    assert said.startswith("NoGpu(")
    assert reason in said
    assert remedy in said


def test_a_library_that_is_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.cuda.driver.LIBRARY", "libc.so.6")
    gpu = find_gpu()
    assert isinstance(gpu, NoGpu)
    assert "not a whole NVIDIA driver" in gpu.reason


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.cuda.driver.LIBRARY", "libcuda-that-nobody-has.so.1")
    gpu = find_gpu()
    assert isinstance(gpu, NoGpu)
    assert "the NVIDIA driver, is not here" in gpu.reason
    assert "ubuntu-drivers install" in gpu.remedy


@pytest.mark.gpu
def test_a_real_gpu_is_what_torch_says() -> None:
    torch = pytest.importorskip("torch")
    gpu = find_gpu()
    assert isinstance(gpu, Gpu)
    assert gpu.compute_capability == torch.cuda.get_device_capability(0)
    assert gpu.name == torch.cuda.get_device_name(0)
    assert "simulated" not in gpu.name
