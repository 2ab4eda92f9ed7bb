"""What a device does, whatever the driver and the package: run on the simulated driver, and on a GPU where one is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from engines.cuda.array import DeviceArray, address_of
from engines.cuda.device import Device
from engines.cuda.errors import CudaError
from engines.cuda.implementations import implementations, open_device

IMPLEMENTATIONS = ("pycuda", "cuda-python")


class DeviceCases:
    """Inherited by a test class for each place where there is a driver."""

    @pytest.fixture(params=IMPLEMENTATIONS)
    def implementation(self, request: pytest.FixtureRequest) -> str:
        if request.param not in implementations():
            pytest.skip(f"{request.param} is not installed")
        return str(request.param)

    @pytest.fixture
    def device(self, implementation: str) -> Iterator[Device]:
        with open_device(implementation) as device:
            yield device

    def test_says_which_package_it_is(self, device: Device, implementation: str) -> None:
        name, version = device.implementation.rsplit(" ", 1)
        assert name == implementation
        assert version[0].isdigit()

    @pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64", "bool"])
    def test_values_come_back_as_they_went(self, device: Device, dtype: str) -> None:
        values = np.random.default_rng(0).integers(0, 2, (3, 5, 7)).astype(dtype)
        back = np.zeros_like(values)
        stream, buffer = device.stream(), device.allocate(values.nbytes)
        stream.copy_to_device(buffer.address, values)
        stream.copy_to_host(back, buffer.address)
        stream.synchronize()
        np.testing.assert_array_equal(back, values)

    def test_page_locked_arrays_carry_values_too(self, device: Device) -> None:
        stream = device.stream()
        there, back = (device.pinned((2, 3), np.float32) for _ in range(2))
        assert there.shape == (2, 3) and there.dtype == np.float32 and there.flags.c_contiguous
        there[:], back[:] = [[1, 2, 3], [4, 5, 6]], 0
        array = DeviceArray.empty(device, there.shape, there.dtype)
        stream.copy_to_device(array.address, there)
        stream.copy_to_host(back, array.address)
        stream.synchronize()
        np.testing.assert_array_equal(back, there)

    def test_copies_from_one_place_on_the_gpu_to_another(self, device: Device) -> None:
        values, back = np.arange(8, dtype=np.int32), np.zeros(8, np.int32)
        stream, one, other = device.stream(), device.allocate(32), device.allocate(32)
        stream.copy_to_device(one.address, values)
        stream.copy_on_device(other.address, one.address + 16, 16)
        stream.copy_on_device(other.address + 16, one.address, 16)
        stream.copy_to_host(back, other.address)
        stream.synchronize()
        assert back.tolist() == [4, 5, 6, 7, 0, 1, 2, 3]

    def test_takes_arrays_of_no_and_of_one_dimension_and_empty_ones(self, device: Device) -> None:
        stream, buffer = device.stream(), device.allocate(8)
        scalar, back = np.array(2.5), np.zeros((1,))
        stream.copy_to_device(buffer.address, scalar)
        stream.copy_to_device(buffer.address, np.empty((0, 3)))
        stream.copy_to_host(back, buffer.address)
        stream.synchronize()
        assert back.tolist() == [2.5]

    def test_events_are_in_order(self, device: Device) -> None:
        stream, events = device.stream(), [device.event() for _ in range(3)]
        values, buffer = np.zeros(1 << 16, np.uint8), device.allocate(1 << 16)
        for event in events:
            stream.record(event)
            stream.copy_to_device(buffer.address, values)
        stream.synchronize()
        events[-1].synchronize()
        first, second, third = events
        assert second.elapsed_ms_since(first) >= 0
        assert third.elapsed_ms_since(first) >= second.elapsed_ms_since(first)
        assert second.elapsed_ms_since(third) <= 0

    def test_an_event_that_was_not_recorded_has_no_time(self, device: Device) -> None:
        with pytest.raises(CudaError, match=r"cuEventElapsedTime failed with CUDA_ERROR_INVALID_HANDLE"):
            device.event().elapsed_ms_since(device.event())

    def test_a_graph_does_its_work_again_on_new_values(self, device: Device) -> None:
        stream = device.stream()
        into, out = device.pinned((4,), np.int32), device.pinned((4,), np.int32)
        one, other = device.allocate(16), device.allocate(16)

        def work() -> None:
            stream.copy_to_device(one.address, into)
            stream.copy_on_device(other.address, one.address, 16)
            stream.copy_to_host(out, other.address)

        out[:] = -1
        graph = stream.capture(work)
        stream.synchronize()
        assert out.tolist() == [-1] * 4, "to record is not to do"
        for start in (10, 20):
            into[:] = np.arange(start, start + 4)
            graph.launch(stream)
            stream.synchronize()
            assert out.tolist() == list(range(start, start + 4))
        into[:] = 5
        other_stream = device.stream()
        graph.launch(other_stream)
        other_stream.synchronize()
        assert out.tolist() == [5] * 4

    def test_an_error_in_a_capture_is_raised_and_leaves_the_stream_usable(self, device: Device) -> None:
        stream, buffer = device.stream(), device.allocate(4)
        values, back = np.array([7], np.int32), np.zeros(1, np.int32)

        def fails() -> None:
            stream.copy_to_device(buffer.address, values)
            raise ZeroDivisionError("in the middle")

        with pytest.raises(ZeroDivisionError, match="in the middle"):
            stream.capture(fails)
        stream.copy_to_device(buffer.address, values)
        stream.copy_to_host(back, buffer.address)
        stream.synchronize()
        assert back.tolist() == [7]

    def test_what_cannot_be_recorded_is_refused_and_the_next_capture_works(self, device: Device) -> None:
        stream, buffer = device.stream(), device.allocate(4)
        values = device.pinned((1,), np.int32)

        def swallows() -> None:
            with pytest.raises(
                CudaError, match="cuStreamSynchronize failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
            ):
                stream.synchronize()

        with pytest.raises(CudaError, match="CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
            stream.capture(stream.synchronize)
        with pytest.raises(
            CudaError, match="cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: some"
        ):
            stream.capture(swallows)
        stream.capture(lambda: stream.copy_to_device(buffer.address, values)).launch(stream)
        stream.synchronize()

    def test_what_is_closed_is_refused(self, device: Device) -> None:
        stream, event, buffer = device.stream(), device.event(), device.allocate(4)
        graph = stream.capture(lambda: stream.copy_on_device(buffer.address, buffer.address + 2, 2))
        buffer.free()
        buffer.free()
        with pytest.raises(InputError, match="this buffer of a CUDA device is closed"):
            _ = buffer.address
        event.close()
        with pytest.raises(InputError, match="this event"):
            stream.record(event)
        graph.close()
        with pytest.raises(InputError, match="this graph"):
            graph.launch(stream)
        stream.close()
        with pytest.raises(InputError, match="this stream"):
            _ = stream.handle

    def test_nothing_outlives_the_with_statement(self, implementation: str) -> None:
        with open_device(implementation) as device:
            stream, event, buffer = device.stream(), device.event(), device.allocate(4)
        for use in (stream.synchronize, event.synchronize, lambda: buffer.address, lambda: device.allocate(4)):
            with pytest.raises(InputError, match="CUDA device is"):
                use()
        for make in (device.stream, device.event, device.synchronize, device.free_memory_bytes):
            with pytest.raises(InputError, match="use it in a with-statement"):
                make()
        buffer.free()
        with device:
            assert device.allocate(4).address

    def test_devices_can_be_open_side_by_side(self, implementation: str) -> None:
        back = np.zeros(4, np.uint8)
        with open_device(implementation) as outer:
            buffer, stream = outer.allocate(4), outer.stream()
            with open_device(implementation) as inner:
                inner.stream().copy_to_device(buffer.address, np.array([1, 2, 3, 4], np.uint8))
                inner.synchronize()
            stream.copy_to_host(back, buffer.address)
            stream.synchronize()
        assert back.tolist() == [1, 2, 3, 4]

    def test_wrong_arrays_and_sizes_are_refused(self, device: Device) -> None:
        stream, buffer = device.stream(), device.allocate(64)
        scattered = np.zeros((4, 4), np.float32)[:, ::2]
        with pytest.raises(InputError, match=r"shape \(4, 2\) .* numpy.ascontiguousarray"):
            stream.copy_to_device(buffer.address, scattered)
        with pytest.raises(InputError, match=r"numpy\.ascontiguousarray"):
            stream.copy_to_host(scattered, buffer.address)
        constant = np.zeros(4, np.float32)
        constant.flags.writeable = False
        stream.copy_to_device(buffer.address, constant)
        with pytest.raises(InputError, match="read-only"):
            stream.copy_to_host(constant, buffer.address)
        with pytest.raises(InputError, match="at least 1 byte, got 0"):
            device.allocate(0)
        with pytest.raises(InputError, match=r"at least 1 element, got shape \(0, 3\)"):
            device.pinned((0, 3), np.float32)

    def test_an_array_says_where_it_lies(self, device: Device) -> None:
        array: Any = DeviceArray.empty(device, (2, 3), np.float16)
        assert address_of(array) == (array.address, (2, 3), np.dtype(np.float16))
        assert array.buffer.size_bytes == 12
        array.free()
        with pytest.raises(InputError, match="this buffer"):
            address_of(array)

    def test_memory_is_counted(self, device: Device) -> None:
        free, total = device.free_memory_bytes()
        assert 0 < free <= total
        assert isinstance(free, int) and isinstance(total, int)
        with pytest.raises(
            InputError, match=rf"{total / 2**20 + 1:,.1f} MiB of GPU memory were asked for .* workspace"
        ):
            device.allocate(total + 2**20)
        device.synchronize()

    def test_the_environment_chooses(self, implementation: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HARNESS_CUDA", implementation)
        assert open_device().implementation.startswith(implementation)
        monkeypatch.delitem(os.environ, "HARNESS_CUDA")
        assert open_device().implementation.startswith(implementations()[0])
