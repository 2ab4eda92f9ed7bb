"""Building an engine into a folder and loading it from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from contracts.files import read_json, sha256_file
from engines import registry
from engines.audit import silent_audit
from engines.backend import Backend, Built, EngineManifest, Inspected, Precision, Report, unheard
from engines.engine import Engine, LoadOptions
from engines.registry import building_backend, running_backend

MANIFEST = "manifest.json"


def build_engine(
    backend: str,
    precision: Precision,
    graph: Path,
    folder: Path,
    options: Mapping[str, Any],
    report: Report = unheard,
) -> tuple[EngineManifest, Mapping[str, Any] | None]:
    """Build the engine's files into an empty folder and describe them, with the precision that its layers run in.

    Args:
        backend: a name of the registry.
        precision: one that the backend has.
        graph: ONNX file of the kind the backend asks for.
        folder: an empty folder, which receives the engine's files.
        options: the section `build.<backend>` of the experiment.
        report: told the fraction that is done.

    Returns:
        The engine's description, and its layers as its runtime tells them: JSON values, or None.

    Raises:
        InputError: unknown backend, precision or option, or a graph that the backend refuses.
        MissingDependencyError: the backend does not build here.
    """
    builder = building_backend(backend, precision)
    resolved = registry.options(backend, options)
    input_shape, classes = graph_signature(graph)
    built = builder.build(graph, precision, folder, resolved, report)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    manifest = EngineManifest(
        backend=backend,
        backend_version=builder.version(),
        precision=precision,
        input_shape=input_shape,
        classes=classes,
        weights_bytes=built.weights_bytes,
        engine_bytes=sum(file.stat().st_size for file in files),
        options=asdict(resolved),
        made_for=builder.made_for(asdict(resolved)),
        graph_sha256=sha256_file(graph),
        files={str(file.relative_to(folder)): sha256_file(file) for file in files},
        simulated=builder.simulated,
    )
    inspected = _inspected(builder, graph, folder, manifest, built)
    return replace(manifest, audit=inspected.audit), inspected.layers


def _inspected(builder: Backend, graph: Path, folder: Path, manifest: EngineManifest, built: Built) -> Inspected:
    """Ask what it is made of; a graph whose work cannot be counted is an engine all the same."""
    try:
        return builder.inspect(graph, folder, manifest, built)
    except InputError as error:
        return Inspected(silent_audit(builder.name, str(error)))


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
        InputError: there is no whole engine, or it was made for another runtime or device.
        MissingDependencyError: its backend does not run here.
    """
    manifest = read_manifest(folder)
    backend = running_backend(manifest.backend)
    for name, digest in manifest.files.items():  # some runtimes do not survive a damaged file
        if not (folder / name).is_file() or sha256_file(folder / name) != digest:
            raise InputError(f"{folder / name} is not the file that was built; {rebuild_command(manifest)}")
    if why := backend.unfit(manifest):
        raise InputError(f"the engine in {folder} cannot be loaded here: {why}; {rebuild_command(manifest)}")
    return backend.engine(folder, manifest, options)


def rebuild_command(manifest: EngineManifest) -> str:
    """Return a clause that names the command which builds an engine again."""
    return (
        f"build it again with 'harness build --backend {manifest.backend} --precision {manifest.precision} --again' "
        "where its graph lies"
    )


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
