"""The shortest way through TensorRT's API, without the project's own backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from tests.engines.tiny_graphs import CLASSES, SHAPE

Array = npt.NDArray[Any]


class Session:
    """A logger that keeps errors, a builder, and the shortest way through the API."""

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.said: list[tuple[str, str]] = []
        said = self.said

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                said.append((severity.name, message))

        self.logger = Logger()
        self.builder = trt.Builder(self.logger)

    @property
    def errors(self) -> list[str]:
        return [text for severity, text in self.said if severity == "ERROR"]

    @property
    def is_strong(self) -> bool:
        return hasattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    def flags(self) -> int:
        creation = self.trt.NetworkDefinitionCreationFlag
        return 1 << int(creation.STRONGLY_TYPED if self.is_strong else creation.EXPLICIT_BATCH)

    def parsed(self, model: onnx.ModelProto, flags: int | None = None) -> tuple[Any, Any, bool]:
        network = self.builder.create_network(self.flags() if flags is None else flags)
        parser = self.trt.OnnxParser(network, self.logger)
        return network, parser, parser.parse(model.SerializeToString())

    def config(self, largest: int = 4, **shapes: Any) -> Any:
        config = self.builder.create_builder_config()
        profile = self.builder.create_optimization_profile()
        for name, shape in (shapes or {"images": SHAPE}).items():
            profile.set_shape(name, (1, *shape), (1, *shape), (largest, *shape))
        assert config.add_optimization_profile(profile) == 0
        return config

    def built(self, model: onnx.ModelProto, *flags: str, **options: Any) -> Any:
        network, parser, parsed = self.parsed(model)
        assert parsed, parser.get_error(0).desc()
        config = self.config()
        for flag in flags:
            config.set_flag(getattr(self.trt.BuilderFlag, flag))
        for name, value in options.items():
            setattr(config, name, value)
        return self.builder.build_serialized_network(network, config)

    def loaded(self, plan: Any) -> Any:
        return self.trt.Runtime(self.logger).deserialize_cuda_engine(plan)


def run(context: Any, images: Array, output: str = "scores") -> Array:
    scores = np.full((len(images), CLASSES), np.nan, np.float32)
    assert context.set_input_shape("images", images.shape)
    assert context.set_tensor_address("images", images.ctypes.data)
    assert context.set_tensor_address(output, scores.ctypes.data)
    assert context.execute_async_v3(0)
    return scores
