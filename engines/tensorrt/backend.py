"""The backends `tensorrt` and `tensorrt-rtx`: one implementation, two flavours."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from contracts.errors import InputError, MissingDependencyError
from engines.audit import layers_audit
from engines.backend import Availability, Backend, Built, EngineManifest, GraphKind, Inspected, Precision, Report
from engines.cuda.driver import Gpu, find_gpu
from engines.cuda.implementations import missing
from engines.engine import Engine, LoadOptions
from engines.macs import multiplying_layers
from engines.tensorrt import versions
from engines.tensorrt.flavour import TENSORRT, TENSORRT_RTX, Flavour, bindings, is_simulated
from engines.tensorrt.inspection.audit import layer_precisions
from engines.tensorrt.inspection.built_layers import layers_said
from engines.tensorrt.inspection.layers import EngineLayer
from engines.tensorrt.inspection.summary import inspection
from engines.tensorrt.made_for import made_for, unfit
from engines.tensorrt.running.engine import TensorRTEngine

PLAN = "engine.plan"

_PROFILED_RUNS = 20
_GRAPHS: Mapping[Precision, GraphKind] = {"fp32": "float", "fp16": "fp16", "bf16": "bf16", "int8": "int8"}


class _TensorRT(Backend):
    """What both flavours share."""

    flavour: ClassVar[Flavour]
    precisions = ("fp32", "fp16", "bf16", "int8")
    takes_gpu = True
    cuda_graphs = True
    builds_apart = True

    def availability(self, precision: Precision | None = None) -> Availability:
        """The package must import; where it builds for the GPU that is here, there must be one."""
        try:
            trt = bindings(self.flavour)
        except MissingDependencyError as error:
            reason, _, remedy = str(error).partition("; ")
            return Availability(False, reason, remedy)
        if precision == "bf16" and not versions.is_strongly_typed(trt):
            return Availability(False, f"TensorRT {trt.__version__} has no bf16", "build fp16, or use TensorRT 10")
        return _gpu_availability() if self.flavour.needs_gpu else Availability(usable=True)

    def runnable(self) -> Availability:
        """Running needs a GPU, and a package that reaches its memory."""
        for state in (self.availability(), _gpu_availability()):
            if not state.usable:
                return state
        absent = missing()
        return Availability(usable=True) if absent is None else Availability(False, *absent)

    def options(self) -> type[Any]:
        """Return the section's class, whose checks the measuring process need not import."""
        from engines.tensorrt.options import TensorRTOptions, TensorRTRTXOptions

        return TensorRTOptions if self.flavour is TENSORRT else TensorRTRTXOptions

    def from_scratch(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the options without the timing cache, which would choose the same kernels again."""
        return {**options, "timing_cache": False} if self.flavour is TENSORRT else options

    def graph_kind(self, precision: Precision) -> GraphKind:
        """Every precision has a graph of its own: TensorRT takes it from the graph's types."""
        return _GRAPHS[precision]

    @property
    def simulated(self) -> bool:
        """Whether a double stands in for TensorRT."""
        return is_simulated(bindings(self.flavour))

    def version(self) -> str:
        """Return the version that the module tells."""
        return bindings(self.flavour).__version__

    def made_for(self, options: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what a plan that is built here is bound to; see `made_for.py`."""
        return made_for(self.flavour, self.version(), _gpu(), options)

    def unfit(self, manifest: EngineManifest) -> str | None:
        """Return why a plan cannot be loaded here; see `Backend.unfit`."""
        return unfit(self.flavour, manifest.made_for, self.version(), _gpu(), manifest.options)

    def build(self, graph: Path, precision: Precision, folder: Path, options: Any, report: Report) -> Built:
        """Write the plan; see `Backend.build`."""
        from engines.constants import constant_bytes
        from engines.tensorrt.building.plan import build_plan

        plan = build_plan(bindings(self.flavour), self.flavour, graph, precision, options, _gpu(), report)
        (folder / PLAN).write_bytes(plan.data)
        told = plan.weights_bytes
        return Built(constant_bytes(graph) if told is None else told, tuple(plan.messages.details))

    def inspect(self, graph: Path, folder: Path, manifest: EngineManifest, built: Built) -> Inspected:
        """Ask the inspector where the plan can be loaded, else take the builder's own words; see `Backend.inspect`."""
        layers = multiplying_layers(graph)
        # The kernels of one profile are told: of that which is tuned for the most images, where it can be asked.
        tuned = [profile[1] for profile in manifest.options["profiles"]]
        asked = self._ask(folder, manifest, max(tuned)) if self.runnable().usable else None
        found, times_ms = asked or (layers_said(built.said), None)
        batch, source = (max(tuned), "its inspector") if asked else (tuned[0], "the builder's own words")
        told = f"{self.flavour.title}: {source}, for batches tuned to {batch}"
        audit = layers_audit(layers, layer_precisions(found, layers), told)
        return Inspected(audit, {**inspection(found, times_ms).to_json(), "batch": batch})

    def _ask(
        self, folder: Path, manifest: EngineManifest, batch: int
    ) -> tuple[tuple[EngineLayer, ...], dict[str, float] | None] | None:
        """Return the layers of a batch size and their times; None for an engine that is meant for another device."""
        try:
            with TensorRTEngine(self.flavour, folder / PLAN, manifest, LoadOptions(batch)) as engine:
                found, times_ms = engine.layers(), None
                with suppress(InputError):  # layers without times are worth telling
                    times_ms = engine.layer_times_ms(_PROFILED_RUNS)
                return found, times_ms
        except InputError:
            if self.builds_for_elsewhere:
                return None
            raise

    def engine(self, folder: Path, manifest: EngineManifest, options: LoadOptions) -> Engine:
        """Return the engine; see `Backend.engine`."""
        return TensorRTEngine(self.flavour, folder / PLAN, manifest, options)


class TensorRT(_TensorRT):
    """TensorRT 8.6 to 11."""

    name = "tensorrt"
    runtime = "tensorrt"
    flavour = TENSORRT


class TensorRTRTX(_TensorRT):
    """TensorRT-RTX: builds anywhere, runs on RTX GPUs; its numbers are not TensorRT's."""

    name = "tensorrt-rtx"
    runtime = "tensorrt_rtx"
    builds_for_elsewhere = True
    flavour = TENSORRT_RTX


def _gpu() -> Gpu | None:
    found = find_gpu()
    return found if isinstance(found, Gpu) else None


def _gpu_availability() -> Availability:
    found = find_gpu()
    return Availability(usable=True) if isinstance(found, Gpu) else Availability(False, found.reason, found.remedy)
