"""The float graph run by torch, on a CUDA GPU where there is one, else on the CPU.

Quantized graphs are refused: fake-quantized PyTorch timed as if it were deployed is a well-known way to fool oneself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.audit import layers_audit
from engines.backend import Availability, Backend, Built, EngineManifest, Inspected, Precision, Report
from engines.constants import constant_bytes
from engines.engine import Array, Engine, LoadOptions
from engines.macs import multiplying_layers

_ONNX = "engine.onnx"
_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
_FLOAT32_IN = {"fp32": 1, "bf16": 2}  # how many weights of this precision take the bytes of one in float32


class Torch(Backend):
    """PyTorch, float graphs only."""

    name = "torch"
    precisions = ("fp32", "bf16")
    runtime = "torch"
    takes_gpu = True

    def availability(self, precision: Precision | None = None) -> Availability:
        """It works wherever torch imports."""
        del precision
        from importlib.util import find_spec

        if find_spec("torch") is None:
            remedy = "install it with: pip install 'edge-robustness-harness[train]'"
            return Availability(False, "torch is not installed", remedy)
        return Availability(usable=True)

    def version(self) -> str:
        """Return the package's version."""
        from importlib.metadata import version

        return version("torch")

    def build(self, graph: Path, precision: Precision, folder: Path, options: Any, report: Report) -> Built:
        """Check that every operator is known and keep the graph; see `Backend.build`."""
        from engines.torch.program import TorchProgram

        del options, report
        TorchProgram(graph, dtype=_DTYPES[precision], device="cpu")
        shutil.copyfile(graph, folder / _ONNX)
        return Built(constant_bytes(graph) // _FLOAT32_IN[precision])

    def inspect(self, graph: Path, folder: Path, manifest: EngineManifest, built: Built) -> Inspected:
        """Every layer runs in the program's own type; see `Backend.inspect`."""
        del folder, built
        layers = multiplying_layers(graph)
        return Inspected(
            layers_audit(layers, {layer.name: manifest.precision for layer in layers}, "the program's dtype")
        )

    def engine(self, folder: Path, manifest: EngineManifest, options: LoadOptions) -> Engine:
        """Return the engine; see `Backend.engine`."""
        return TorchEngine(folder / _ONNX, manifest, options)


class TorchEngine(Engine):
    """The graph as a torch program on one device."""

    def __init__(self, path: Path, manifest: EngineManifest, options: LoadOptions) -> None:
        super().__init__(manifest.input_shape, manifest.classes, options)
        self._path = path
        self._dtype = _DTYPES[manifest.precision]

    def _activate(self) -> None:
        import torch

        from engines.torch.program import TorchProgram

        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._program = TorchProgram(self._path, dtype=self._dtype, device=self._device)

    def _infer(self, images: Array) -> Array:
        import torch

        scores: Array = self._program(torch.from_numpy(images).to(self._device)).cpu().numpy()
        return scores

    def _bind(self, images: Array) -> Callable[[], None]:
        import torch

        program, bound = self._program, torch.from_numpy(images).to(self._device)
        if self._device == "cpu":

            def run_on_cpu() -> None:
                program(bound)

            return run_on_cpu

        def run_on_gpu() -> None:
            program(bound)
            torch.cuda.synchronize()

        return run_on_gpu

    def _deactivate(self) -> None:
        del self._program
