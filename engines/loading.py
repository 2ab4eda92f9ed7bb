"""Building an engine into a folder and loading it from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from contracts.files import read_json
from engines.audit import PrecisionAudit, silent_audit
from engines.backend import Backend, EngineManifest, Precision
from engines.engine import Engine, LoadOptions
from engines.registry import usable_backend

MANIFEST = "manifest.json"


def build_engine(
    backend: str, precision: Precision, graph: Path, folder: Path, options: Mapping[str, Any]
) -> EngineManifest:
    """Build the engine's files into an empty folder and describe them, with the precision that its layers run in.

    Args:
        backend: a name of the registry.
        precision: one that the backend has.
        graph: ONNX file of the kind the backend asks for.
        folder: an empty folder, which receives the engine's files.
        options: the backend's own settings.

    Raises:
        InputError: unknown backend or precision, or a graph that the backend refuses.
        MissingDependencyError: the backend does not work here.
    """
    builder = usable_backend(backend, precision)
    input_shape, classes = graph_signature(graph)
    weights_bytes = builder.build(graph, precision, folder, options)
    manifest = EngineManifest(
        backend=backend,
        backend_version=builder.version(),
        precision=precision,
        input_shape=input_shape,
        classes=classes,
        weights_bytes=weights_bytes,
        engine_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        options=options,
    )
    return replace(manifest, audit=_audit(builder, graph, folder, manifest))


def _audit(builder: Backend, graph: Path, folder: Path, manifest: EngineManifest) -> PrecisionAudit:
    """Ask what the layers run in; a graph whose work cannot be counted is an engine all the same."""
    try:
        return builder.audit(graph, folder, manifest)
    except InputError as error:
        return silent_audit(builder.name, str(error))


def read_manifest(folder: Path) -> EngineManifest:
    """Read the manifest of a built engine.

    Raises:
        InputError: there is none, or it is not whole.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(f"there is no engine in {folder}: build one with 'harness build'")
    value = read_json(path, "engine manifest")
    if not isinstance(value, dict) or not isinstance(value.get("engine"), dict):
        raise InputError(f"{path} describes no engine: build it again with 'harness build'")
    return EngineManifest.from_json(value["engine"])


def load_engine(folder: Path, options: LoadOptions) -> Engine:
    """Return the engine in a folder, not yet active.

    Raises:
        InputError: there is no whole engine.
        MissingDependencyError: its backend does not work here.
    """
    manifest = read_manifest(folder)
    return usable_backend(manifest.backend, manifest.precision).engine(folder, manifest, options)


def graph_signature(graph: Path) -> tuple[tuple[int, int, int], int]:
    """Return the shape of one image and the number of classes of an ONNX classifier.

    Raises:
        InputError: no whole ONNX file, or not one float32 input (batch, channels, height, width) and one output
            (batch, classes) of which the batch size alone is free.
    """
    import onnx

    try:
        model = onnx.load(str(graph), load_external_data=False)
    except Exception as error:  # protobuf's and the system's
        raise InputError(f"{graph} cannot be read as an ONNX graph ({error}): export it again") from error
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initial]
    shapes = [_dims(value) for value in (*inputs, *model.graph.output)]
    if len(inputs) != 1 or len(model.graph.output) != 1 or [len(shape) for shape in shapes] != [4, 2]:
        raise InputError(
            f"{graph} must have one input (batch, channels, height, width) and one output (batch, classes), "
            f"found {shapes}"
        )
    (batch, channels, height, width), (_, classes) = shapes
    if 0 in (channels, height, width, classes):
        raise InputError(f"{graph} must fix channels, height, width and classes, found {shapes} (0 is free)")
    if batch != 0:
        raise InputError(f"{graph} takes batches of {batch} alone: export it with a free batch size")
    if (kind := inputs[0].type.tensor_type.elem_type) != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind)
        raise InputError(f"{graph} takes images as {name}: export it with an input of float32 pixels in [0, 1]")
    return (channels, height, width), classes


def _dims(value: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
