from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from engines.cuda.array import DeviceArray, address_of
from engines.cuda.implementations import implementations
from tests.engines.cuda.device_cases import IMPLEMENTATIONS, DeviceCases
from tests.engines.cuda.simulated_driver import run_pytest, run_python

if TYPE_CHECKING:
    from engines.cuda.device import Device

CASES = "tests/engines/cuda/simulated_device_cases.py"


@pytest.fixture(params=IMPLEMENTATIONS)
def installed(request: pytest.FixtureRequest) -> str:
    if request.param not in implementations():
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.mark.core
@pytest.mark.parametrize("cuda_version", ["13.2", "12.6"])
def test_on_the_simulated_driver(simulated_libcuda: Path, installed: str, cuda_version: str) -> None:
    settings = {"SIMULATED_CUDA_VERSION": cuda_version}
    said = run_pytest(simulated_libcuda, CASES, "-k", installed, settings=settings)
    assert re.search(r"\d\d passed", said), said
    assert "skipped" not in said


@pytest.mark.core
def test_a_process_may_end_while_a_device_is_open(simulated_libcuda: Path, installed: str) -> None:
    ask = """
from engines.cuda.implementations import open_device
from tests.engines.cuda.simulated_driver import Simulation
import atexit
atexit.register(lambda: print(set(Simulation().live().values())))  # runs after the device's own
device = open_device()
device.__enter__()
stream, event, buffer = device.stream(), device.event(), device.allocate(4)
"""
    assert run_python(simulated_libcuda, "-c", ask, settings={"HARNESS_CUDA": installed}) == "{0}\n"


@pytest.mark.gpu
class TestOnAGpu(DeviceCases):
    def test_torch_and_device_share_memory(self, device: Device) -> None:
        torch = pytest.importorskip("torch")
        array = DeviceArray.empty(device, (2, 3), np.float32)
        stream = device.stream()
        stream.copy_to_device(array.address, np.arange(6, dtype=np.float32).reshape(2, 3))
        stream.synchronize()
        tensor = torch.as_tensor(array, device="cuda")
        assert tensor.data_ptr() == array.address
        tensor += 1
        torch.cuda.synchronize()
        back = np.zeros((2, 3), np.float32)
        stream.copy_to_host(back, array.address)
        stream.synchronize()
        np.testing.assert_array_equal(back, np.arange(1, 7).reshape(2, 3))

    def test_a_tensors_memory_is_used_where_it_lies(self, device: Device) -> None:
        torch = pytest.importorskip("torch")
        tensor = torch.arange(6, dtype=torch.float32, device="cuda").reshape(2, 3)
        torch.cuda.synchronize()
        place = address_of(tensor)
        assert place.address == tensor.data_ptr()
        assert (place.shape, place.dtype) == ((2, 3), np.dtype(np.float32))
        back, stream = np.zeros((2, 3), np.float32), device.stream()
        stream.copy_to_host(back, place.address)
        stream.synchronize()
        np.testing.assert_array_equal(back, np.arange(6).reshape(2, 3))
