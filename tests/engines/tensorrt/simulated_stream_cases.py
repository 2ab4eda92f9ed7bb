"""Simulated TensorRT on the SIMULATED CUDA driver, in its own process: test_simulated_engines.py runs this file."""

from __future__ import annotations

import numpy as np
import pytest

from engines.cuda.array import DeviceArray
from engines.cuda.implementations import open_device
from tests.engines.tensorrt.simulated import VERSIONS, install
from tests.engines.tensorrt.simulated_session import Session
from tests.engines.tiny_graphs import CLASSES, Array, classifier, pixels, reference


@pytest.mark.parametrize("version", VERSIONS)
def test_a_captured_inference_runs_at_each_launch_and_not_before(version: str) -> None:
    first, second = pixels(3, seed=1), pixels(3, seed=2)
    with install(version) as trt, open_device() as device:
        session = Session(trt)
        context = session.loaded(session.built(classifier())).create_execution_context()
        images = DeviceArray.empty(device, first.shape, np.float32)
        scores = DeviceArray.empty(device, (3, CLASSES), np.float32)
        assert context.set_input_shape("images", first.shape)
        assert context.set_tensor_address("images", images.address)
        assert context.set_tensor_address("scores", scores.address)
        stream, answer = device.stream(), np.zeros((3, CLASSES), np.float32)

        def copied() -> Array:
            stream.copy_to_host(answer, scores.address)
            stream.synchronize()
            return answer

        stream.copy_to_device(images.address, first)
        assert context.execute_async_v3(stream.handle)
        np.testing.assert_allclose(copied(), reference(classifier(), first), rtol=1e-5)
        stream.copy_to_device(images.address, second)
        graph = stream.capture(lambda: context.execute_async_v3(stream.handle))
        np.testing.assert_allclose(copied(), reference(classifier(), first), rtol=1e-5)
        other = DeviceArray.empty(device, (3, CLASSES), np.float32)
        assert context.set_tensor_address(
            "scores", other.address
        )  # the graph keeps the address that it was recorded with
        graph.launch(stream)
        np.testing.assert_allclose(copied(), reference(classifier(), second), rtol=1e-5)
        stream.copy_to_device(images.address, first)
        graph.launch(stream)
        np.testing.assert_allclose(copied(), reference(classifier(), first), rtol=1e-5)
