"""ONNX Runtime on the CPU. An engine is the ONNX graph itself; the session optimises it when it is loaded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.audit import layers_audit
from engines.backend import Availability, Backend, Built, EngineManifest, Inspected, Precision, Report
from engines.constants import constant_bytes
from engines.engine import Array, Engine, LoadOptions
from engines.macs import multiplying_layers
from engines.onnxruntime.session import session

_ONNX = "engine.onnx"


class ONNXRuntime(Backend):
    """ONNX Runtime's CPU execution provider."""

    name = "onnxruntime"
    precisions = ("fp32", "int8")
    runtime = "onnxruntime"

    def availability(self, precision: Precision | None = None) -> Availability:
        """It works wherever its package imports."""
        del precision
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            return Availability(
                False, f"onnxruntime does not import ({error})", "install it with: pip install onnxruntime"
            )
        return Availability(usable=True)

    def version(self) -> str:
        """Return the package's version."""
        from importlib.metadata import version

        return version("onnxruntime")

    def build(self, graph: Path, precision: Precision, folder: Path, options: Any, report: Report) -> Built:
        """Check that a session accepts the graph and keep it; see `Backend.build`."""
        del precision, options, report
        session(graph)
        shutil.copyfile(graph, folder / _ONNX)
        return Built(constant_bytes(graph))

    def inspect(self, graph: Path, folder: Path, manifest: EngineManifest, built: Built) -> Inspected:
        """Read it from the graph that the session's optimizer makes; see `Backend.inspect`."""
        import onnx

        from engines.onnxruntime.audit import optimized_precisions

        del manifest, built
        layers = multiplying_layers(graph)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / _ONNX
            session(folder / _ONNX, write_optimized=path)
            optimized = onnx.load(str(path)).graph
        precisions = optimized_precisions(onnx.load(str(graph)).graph, optimized, layers)
        return Inspected(layers_audit(layers, precisions, "ONNX Runtime's optimized graph"))

    def engine(self, folder: Path, manifest: EngineManifest, options: LoadOptions) -> Engine:
        """Return the engine; see `Backend.engine`."""
        return ONNXRuntimeEngine(folder / _ONNX, manifest, options)


class ONNXRuntimeEngine(Engine):
    """A session run synchronously."""

    def __init__(self, path: Path, manifest: EngineManifest, options: LoadOptions) -> None:
        super().__init__(manifest.input_shape, manifest.classes, options)
        self._path = path

    def _activate(self) -> None:
        self._session = session(self._path, threads=self.options.threads)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def _infer(self, images: Array) -> Array:
        scores: Array = self._session.run([self._output], {self._input: images})[0]
        return scores

    def _bind(self, images: Array) -> Callable[[], None]:
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, images)
        binding.bind_output(self._output)
        execute = self._session.run_with_iobinding

        # The binding points into the array, so the array must live as long as the function.
        def run(_keep: Array = images) -> None:
            execute(binding)

        return run

    def _deactivate(self) -> None:
        del self._session
