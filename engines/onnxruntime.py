"""ONNX Runtime on the CPU. An engine is the ONNX graph itself; the session optimises it when it is loaded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError
from engines.audit import PrecisionAudit, layers_audit
from engines.backend import Availability, Backend, EngineManifest, Precision
from engines.constants import constant_bytes
from engines.engine import Array, Engine, LoadOptions
from engines.macs import multiplying_layers

if TYPE_CHECKING:
    import onnx

_ONNX = "engine.onnx"

ACTIVATION_BYTES = 256 * 2**20
"""How much `activations` holds at a time: an eighth of the smallest boards' memory (2 GiB)."""


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

    def build(self, graph: Path, precision: Precision, folder: Path, options: Mapping[str, Any]) -> int:
        """Check that a session accepts the graph and keep it; see `Backend.build`."""
        del precision, options
        session(graph)
        shutil.copyfile(graph, folder / _ONNX)
        return constant_bytes(graph)

    def audit(self, graph: Path, folder: Path, manifest: EngineManifest) -> PrecisionAudit:
        """Read it from the graph that the session's optimizer makes; see `Backend.audit`."""
        import onnx

        from engines.audit_onnxruntime import optimized_precisions

        del manifest
        layers = multiplying_layers(graph)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / _ONNX
            session(folder / _ONNX, write_optimized=path)
            optimized = onnx.load(str(path)).graph
        precisions = optimized_precisions(onnx.load(str(graph)).graph, optimized, layers)
        return layers_audit(layers, precisions, "ONNX Runtime's optimized graph")

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


def activations(
    graph: onnx.ModelProto | Path,
    tensors: Sequence[str],
    *,
    threads: int = 0,
    limit_bytes: int | None = ACTIVATION_BYTES,
    optimise: bool = False,
) -> Callable[[Array], Iterator[tuple[str, Array]]]:
    """Return a function that shows images to a float graph and yields what its inner tensors hold.

    Args:
        graph: ONNX with one input that is no initializer.
        tensors: names of activations; the graph's input and output may be among them.
        threads: CPU threads; 0 leaves that to the runtime.
        limit_bytes: what the tensors of one run may take together; None for whole batches. It does not hold for a
            graph of one batch size, nor for a single image whose tensors take more.
        optimise: let the runtime fuse nodes between these tensors, for their values up to roundings in less time;
            otherwise the graph runs node by node as it is written.

    Returns:
        A function of one batch of images. A batch whose tensors would take more than the limit is shown in several
        runs, and each yields every name once, with the values of its images alone. How many images a run may take is
        told from the first image of all.

    Raises:
        InputError: a name is none of the graph's, or ONNX Runtime refuses the graph.
    """
    import onnx

    exposed = (
        onnx.load(str(graph)) if isinstance(graph, Path) else onnx.ModelProto.FromString(graph.SerializeToString())
    )
    body = exposed.graph
    constant = {tensor.name for tensor in body.initializer}
    (shown,) = (value.name for value in body.input if value.name not in constant)
    inner = [name for name in dict.fromkeys(tensors) if name != shown]
    made = {name for node in body.node for name in node.output}
    if missing := [name for name in inner if name not in made]:
        raise InputError(f"the graph computes no tensor {missing[0]!r}: name tensors of this very graph")
    types = {value.name: value for value in onnx.shape_inference.infer_shapes(exposed).graph.value_info}
    given = {value.name for value in body.output}
    body.output.extend(types.get(name, onnx.ValueInfoProto(name=name)) for name in inner if name not in given)
    running = session(exposed, threads=threads, optimise=optimise)
    (shape,) = (value.shape for value in running.get_inputs() if value.name == shown)
    fixed = isinstance(shape[0], int)
    images_per_run = 0

    def values(images: Array) -> Iterator[tuple[str, Array]]:
        nonlocal images_per_run
        if shown in tensors:
            yield shown, images
        if not inner:
            return
        if limit_bytes is None or fixed:
            images_per_run = max(len(images), 1)
        elif not images_per_run:
            image_bytes = sum(found.nbytes for found in running.run(inner, {shown: images[:1]}))
            images_per_run = max(limit_bytes // max(image_bytes, 1), 1)
        for start in range(0, len(images), images_per_run):
            part = images[start : start + images_per_run]
            yield from zip(inner, running.run(inner, {shown: part}), strict=True)

    return values


def session(
    graph: onnx.ModelProto | Path, *, threads: int = 0, optimise: bool = True, write_optimized: Path | None = None
) -> Any:
    """Open an ONNX Runtime session on the CPU.

    Args:
        graph: ONNX file, or a graph in memory, of less than 2 GiB.
        threads: CPU threads; 0 leaves that to the runtime.
        optimise: False runs the graph node by node as written: the reference for export parity.
        write_optimized: where the graph goes as the optimizer rewrote it, short of its last step, which changes the
            layout of tensors and no operator, but loses the names of weights.

    Raises:
        InputError: ONNX Runtime refuses the graph.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if write_optimized is not None:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(write_optimized)
    source, name = (str(graph), graph) if isinstance(graph, Path) else (graph.SerializeToString(), "the graph")
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot run {name}: {str(error).splitlines()[0]}") from error
