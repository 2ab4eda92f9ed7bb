"""Devices on the SIMULATED driver, in a process of its own: test_cuda_device.py runs this file."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from engines.cuda.array import DeviceArray
from engines.cuda.device import Device
from engines.cuda.errors import CudaError, DeviceMemoryError
from engines.cuda.implementations import open_device
from tests.engines.cuda.device_cases import DeviceCases
from tests.engines.cuda.simulated_driver import KINDS, Simulation

NOTHING = dict.fromkeys(KINDS, 0)
ILLEGAL_ADDRESS = 700


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation()


@pytest.fixture(autouse=True)
def nothing_is_left(simulation: Simulation) -> Iterator[None]:
    yield
    assert simulation.live() == NOTHING


def kernel(simulation: Simulation, stream: int, array: DeviceArray) -> None:
    """Enqueue x -> 2x + 1 on a float32 array."""
    count = int(np.prod(array.shape))
    values = np.ctypeslib.as_array((ctypes.c_float * count).from_address(array.address))

    def run() -> None:
        values[:] = 2 * values + 1

    simulation.enqueue(stream, run)


class TestOnTheSimulatedDriver(DeviceCases):
    def test_everything_is_given_back(self, implementation: str, simulation: Simulation) -> None:
        with open_device(implementation) as device:
            stream, event, array = device.stream(), device.event(), DeviceArray.empty(device, (4,), np.float32)
            graph = stream.capture(lambda: kernel(simulation, stream.handle, array))
            device.pinned((4,), np.float32)
            stream.record(event)
            graph.launch(stream)
            alive = simulation.live()
        kinds = (
            "device_allocations",
            "host_allocations",
            "streams",
            "events",
            "executable_graphs",
            "context_references",
        )
        assert {kind: alive[kind] for kind in kinds} == dict.fromkeys(kinds, 1)
        assert alive["graphs"] == alive["captures"] == 0
        assert alive["contexts_on_this_thread"] == 1

    def test_everything_is_given_back_after_an_error_too(self, implementation: str) -> None:
        with pytest.raises(ZeroDivisionError), open_device(implementation) as device:
            stream, buffer = device.stream(), device.allocate(16)
            device.pinned((4,), np.float32)
            stream.capture(lambda: stream.copy_on_device(buffer.address, buffer.address + 8, 8))
            _ = 1 / 0

    def test_a_graph_runs_a_kernel_again_on_new_values(self, device: Device, simulation: Simulation) -> None:
        stream, array = device.stream(), DeviceArray.empty(device, (3,), np.float32)
        into, out = device.pinned((3,), np.float32), device.pinned((3,), np.float32)

        def work() -> None:
            stream.copy_to_device(array.address, into)
            kernel(simulation, stream.handle, array)
            stream.copy_to_host(out, array.address)

        into[:] = 0
        work()
        stream.synchronize()
        assert out.tolist() == [1, 1, 1]
        graph = stream.capture(work)
        into[:] = [1, 2, 3]
        assert out.tolist() == [1, 1, 1]
        graph.launch(stream)
        stream.synchronize()
        assert out.tolist() == [3, 5, 7]

    def test_too_little_memory_is_one_sentence(self, device: Device, simulation: Simulation) -> None:
        _, total = device.free_memory_bytes()
        simulation.set_memory_limit(8 << 20)
        try:
            held = device.allocate(6 << 20)
            with pytest.raises(DeviceMemoryError) as caught:
                device.allocate(5 << 19)
        finally:
            simulation.set_memory_limit(total)
        assert str(caught.value) == (
            "2.5 MiB of GPU memory were asked for and 2.0 MiB of 8.0 MiB are free: "
            "take a smaller batch or a smaller workspace, or end other programs on the GPU"
        )
        assert caught.value.exit_code == 2
        assert held.address

    def test_host_memory_that_cannot_be_locked_is_one_sentence(self, device: Device, simulation: Simulation) -> None:
        simulation.fail_next("cuMemHostAlloc", 2)
        with pytest.raises(DeviceMemoryError, match=r"the host cannot lock 1\.0 MiB of its memory for the GPU: take a"):
            device.pinned((1 << 20,), np.uint8)

    def test_memory_that_runs_out_elsewhere_is_the_users_error_too(
        self, device: Device, simulation: Simulation
    ) -> None:
        stream, buffer = device.stream(), device.allocate(8)
        simulation.fail_next("cuGraphInstantiateWithFlags", 2)
        with pytest.raises(DeviceMemoryError, match="smaller batch"):
            stream.capture(lambda: stream.copy_on_device(buffer.address, buffer.address + 4, 4))

    def test_an_error_names_call_and_error(self, device: Device, simulation: Simulation) -> None:
        stream = device.stream()
        simulation.fail_next("cuStreamSynchronize", ILLEGAL_ADDRESS)
        with pytest.raises(
            CudaError, match="cuStreamSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS: work"
        ) as caught:
            stream.synchronize()
        assert (caught.value.call, caught.value.error_name) == ("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS")
        with pytest.raises(CudaError, match="CUDA_ERROR_INVALID_VALUE"):
            stream.copy_to_device(4096, np.zeros(4))

    def test_a_context_that_cannot_be_had_is_no_open_device(self, implementation: str, simulation: Simulation) -> None:
        for function in ("cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2"):
            device = open_device(implementation)
            simulation.fail_next(function, 999)
            with pytest.raises(CudaError, match="CUDA_ERROR_UNKNOWN"), device:
                pytest.fail("it opened")

    @pytest.mark.parametrize("implementation", ["cuda-python"], indirect=True)  # pycuda only prints such errors
    def test_the_rest_is_freed_where_one_thing_cannot_be(self, implementation: str, simulation: Simulation) -> None:
        device = open_device(implementation)
        with pytest.raises(CudaError, match="cuEventDestroy"), device:
            device.stream(), device.event(), device.allocate(4)
            simulation.fail_next("cuEventDestroy_v2", ILLEGAL_ADDRESS)
        assert simulation.live() == {**NOTHING, "events": 1}
        simulation.library.simulated_forget_events()

    def test_the_context_of_others_stays_theirs(self, implementation: str, simulation: Simulation) -> None:
        # As torch does it: the primary context, set as the current one.
        driver, context, current = simulation.library, ctypes.c_void_p(), ctypes.c_void_p()
        assert driver.cuInit(0) == 0
        assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
        assert driver.cuCtxSetCurrent(context) == 0
        with open_device(implementation) as device:
            assert device.allocate(4).address
            assert simulation.live()["context_references"] == 2
        live = simulation.live()
        assert (live["context_references"], live["contexts_on_this_thread"]) == (1, 1)
        assert driver.cuCtxGetCurrent(ctypes.byref(current)) == 0
        assert current.value == context.value
        assert driver.cuCtxSetCurrent(None) == 0
        assert driver.cuDevicePrimaryCtxRelease_v2(0) == 0
