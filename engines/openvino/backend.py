"""OpenVINO: the embedded default, one package for x86-64 and aarch64 CPUs.

An engine is OpenVINO's own representation (`engine.xml`, `engine.bin`); the CPU plugin compiles it when it is loaded,
for the machine it is on. FP32 keeps its weights in FP32, BF16 is the plugin's inference precision, INT8 comes from the
graph's Q/DQ.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import InputError
from engines.audit import layers_audit
from engines.backend import Availability, Backend, Built, EngineManifest, Inspected, Precision, Report
from engines.engine import Array, Engine, LoadOptions
from engines.macs import multiplying_layers

_XML = "engine.xml"
_DEVICE = "CPU"


class OpenVINO(Backend):
    """OpenVINO on the CPU."""

    name = "openvino"
    precisions = ("fp32", "bf16", "int8")
    runtime = "openvino"

    def availability(self, precision: Precision | None = None) -> Availability:
        """BF16 needs a CPU whose OpenVINO plugin lists it."""
        try:
            import openvino as ov
        except ImportError as error:
            return Availability(False, f"openvino does not import ({error})", "install it with: pip install openvino")
        if precision == "bf16":
            abilities = ov.Core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in abilities:
                return Availability(False, f"this CPU has {', '.join(abilities)}", "use fp32 or int8 on this machine")
        return Availability(usable=True)

    def version(self) -> str:
        """Return the package's version."""
        from importlib.metadata import version

        return version("openvino")

    def build(self, graph: Path, precision: Precision, folder: Path, options: Any, report: Report) -> Built:
        """Convert the ONNX graph; see `Backend.build`."""
        import openvino as ov

        del precision, options, report
        try:
            model = ov.Core().read_model(str(graph))
        except RuntimeError as error:
            raise InputError(f"OpenVINO cannot read {graph}: {_last_line(error)}") from error
        ov.save_model(model, str(folder / _XML), compress_to_fp16=False)
        return Built((folder / _XML).with_suffix(".bin").stat().st_size)

    def inspect(self, graph: Path, folder: Path, manifest: EngineManifest, built: Built) -> Inspected:
        """Read it from the model that the CPU plugin compiles; see `Backend.inspect`."""
        from engines.openvino.audit import runtime_precisions

        del built
        layers = multiplying_layers(graph)
        compiled = _compiled(folder / _XML, manifest, LoadOptions(batch_size=1))
        return Inspected(layers_audit(layers, runtime_precisions(compiled, layers), "OpenVINO's runtime model"))

    def engine(self, folder: Path, manifest: EngineManifest, options: LoadOptions) -> Engine:
        """Return the engine; see `Backend.engine`."""
        return OpenVINOEngine(folder / _XML, manifest, options)


class OpenVINOEngine(Engine):
    """A model compiled for a fixed batch, run synchronously."""

    def __init__(self, path: Path, manifest: EngineManifest, options: LoadOptions) -> None:
        super().__init__(manifest.input_shape, manifest.classes, options)
        self._path = path
        self._manifest = manifest

    def _activate(self) -> None:
        self._compiled = _compiled(self._path, self._manifest, self.options)
        self._request: Any = None

    def _infer(self, images: Array) -> Array:
        if self._request is None:
            self._request = self._compiled.create_infer_request()
        self._request.infer([images], share_inputs=True)
        scores: Array = self._request.get_output_tensor().data.astype(np.float32, copy=False)
        return scores

    def _bind(self, images: Array) -> Callable[[], None]:
        import openvino as ov

        # A request of its own: `infer` would put its images in the place of these.
        request = self._compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(images, shared_memory=True))

        # The tensor shares the array's memory, so the array must live as long as the function.
        def run(_keep: Array = images) -> None:
            request.infer(share_outputs=True)  # shared, the results are not copied: the span is the runtime's own call

        return run

    def _deactivate(self) -> None:
        del self._request, self._compiled


def _compiled(path: Path, manifest: EngineManifest, options: LoadOptions) -> Any:
    """Return the engine's model compiled for this machine's CPU and one batch size.

    Raises:
        InputError: the file is no whole engine.
    """
    import openvino as ov

    core = ov.Core()
    try:
        model = core.read_model(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is not a whole engine ({_last_line(error)}): build it again") from error
    model.reshape([options.batch_size, *manifest.input_shape])
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # The plugin would pick BF16 for an FP32 model on a CPU that has it: the precision is what was asked for.
        "INFERENCE_PRECISION_HINT": "bf16" if manifest.precision == "bf16" else "f32",
    }
    if options.threads:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    return core.compile_model(model, _DEVICE, settings)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
